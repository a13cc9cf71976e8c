"""What the log looks like: one readable line an event, without the noise of libraries."""

import logging

LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
CLOCK = "%H:%M:%S"
# Loggers that tell every request they make or every file they look at.
CHATTY = (
    "httpx",
    "httpx2",
    "httpcore",
    "asyncio",
    "multipart",
    "python_multipart",
    "PIL",
    "urllib3",
    "filelock",
    "numba",
)


class WithoutTritonNoise(logging.Filter):
    """Drops what libraries say about a missing or unsuitable Triton: it is optional here and nothing depends on it."""

    def filter(self, record: logging.LogRecord) -> bool:
        own = record.name.split(".")[0] == "trellis"
        return own or record.levelno >= logging.ERROR or "triton" not in record.getMessage().lower()


def configure_logging(level: int = logging.INFO) -> None:
    """Send the log to standard error in this program's form, replacing what was configured before."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(LINE, CLOCK))
    handler.addFilter(WithoutTritonNoise())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)

"""How a program of training begins and ends."""

import logging
import sys
from collections.abc import Callable

from trellis.errors import TrellisError

logger = logging.getLogger(__name__)


def program(work: Callable[[list[str] | None], int | None]) -> Callable[..., int]:
    """`work` on a command line with its exit status: 0 where it states no other, 1 for an error, which is told."""

    def main(arguments: list[str] | None = None) -> int:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        try:
            return work(arguments) or 0
        except TrellisError as error:
            logger.error("%s", error)
            return 1

    return main

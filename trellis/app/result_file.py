"""Result files as answers: what was deleted meanwhile is not there, and no fault."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

PIECE = 3 << 17  # bytes, three of which are four characters of base64


class ResultFile(FileResponse):
    """A file as the answer; 404 if it has gone since it was looked up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await super().__call__(scope, receive, send_noting)
        except (RuntimeError, FileNotFoundError) as error:
            gone = isinstance(error, FileNotFoundError) or "does not exist" in str(error)
            if started or not gone:
                raise
            await PlainTextResponse("This result does not exist any more.", 404)(scope, receive, send)


class ResultTexts(StreamingResponse):
    """JSON with files as base64 between `before` and `after`, which is made as it is sent: files may be large.

    Raises FileNotFoundError at once for one that has gone.
    """

    def __init__(self, paths: Sequence[Path], *, before: bytes, after: bytes) -> None:
        files = [path.open("rb") for path in paths]

        def pieces() -> Iterator[bytes]:
            yield before
            for index, file in enumerate(files):
                yield b'","' if index else b'"'
                with file:
                    while piece := file.read(PIECE):
                        yield base64.b64encode(piece)
            yield b'"' + after

        super().__init__(pieces(), media_type="application/json", headers={"Cache-Control": "no-store"})

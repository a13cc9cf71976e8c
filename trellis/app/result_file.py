"""Result files as answers: what was deleted meanwhile is not there, and no fault."""

from starlette.responses import FileResponse, PlainTextResponse
from starlette.types import Message, Receive, Scope, Send


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

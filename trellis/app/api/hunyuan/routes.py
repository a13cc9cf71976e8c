"""The routes of Hunyuan3D's server; POST /generate is shared (`trellis.app.api.stableprojectorz.client_routes`)."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from trellis.app.api.hunyuan.options import KINDS, NUMBERS, UNUSED
from trellis.app.api.hunyuan.server import GLB_TYPE, HunyuanServer
from trellis.app.api.openapi import ERRORS, PICTURE_TEXT, file_answer, request_body
from trellis.app.result_file import ResultTexts

FAILURES = ERRORS[400] | ERRORS[403] | ERRORS[413] | ERRORS[422] | ERRORS[503] | ERRORS[507]
ANSWERS = file_answer(GLB_TYPE) | FAILURES | ERRORS[499] | ERRORS[500]  # of POST /generate, to these clients alone


class Health(BaseModel):
    """The server is there."""

    status: Literal["healthy"] = "healthy"


class Sent(BaseModel):
    """What a generation is asked after by."""

    uid: str


class Progress(BaseModel):
    """How far a generation is."""

    status: Literal["processing", "texturing", "completed", "error"]
    model_base64: str | None = Field(None, description="The GLB, once it is completed.")
    message: str | None = Field(None, description="What went wrong, where something did.")


def hunyuan_routes(server: HunyuanServer) -> APIRouter:
    """The routes that are these clients' alone."""
    router = APIRouter(tags=["Hunyuan3D clients"])

    @router.get("/health")
    async def health() -> Health:
        """Answer at once, whatever else goes on."""
        return Health()

    @router.post("/send", responses=FAILURES, openapi_extra=request_body({"application/json": hunyuan_schema()}))
    async def send(request: Request) -> Sent:
        """Begin to generate a model; answers at once."""
        return Sent(uid=await server.submit(await server.receive(request), request))

    @router.get("/status/{uid}", response_model=Progress, responses=ERRORS[404], response_model_exclude_none=True)
    async def status(uid: str) -> dict[str, str] | ResultTexts:
        """Tell how far a generation is; the model comes with it when it is completed."""
        return await server.status(uid)

    return router


def hunyuan_schema() -> dict[str, Any]:
    """The JSON object of POST /send, and of POST /generate by these clients."""
    properties = {
        "image": PICTURE_TEXT | {"description": "Base64 of a picture."},
        "text": {"type": "string", "description": "In place of a picture, for a text model."},
        "mesh": {"type": "string", "description": "Base64 of a GLB that gets new colours after the picture."},
        "texture": {"type": "boolean", "description": "Whether a Hunyuan3D shape is coloured; others always are."},
        "remove_background": {"type": "boolean", "description": "Not used: pictures with alpha are used as they are."},
        UNUSED: {"type": "integer", "description": "Not used."},
        "type": {"type": "string", "enum": list(KINDS), "default": KINDS[0]},
        **{name: number.schema for name, number in NUMBERS.items()},
    }
    return {"type": "object", "properties": properties}

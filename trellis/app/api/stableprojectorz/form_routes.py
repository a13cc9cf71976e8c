"""The form routes of the StableProjectorz server: one or several pictures, directly or with a preview first."""

from fastapi import APIRouter, Request
from starlette.datastructures import FormData

from trellis.app.api.bodies import file_field, opened_form, received, text_field
from trellis.app.api.errors import FieldError
from trellis.app.api.jobs import Jobs, Source
from trellis.app.api.openapi import ERRORS
from trellis.app.api.pictures import read_pictures
from trellis.app.api.settings import ApiSettings
from trellis.app.api.stableprojectorz.answers import Generation, PreviewUrls
from trellis.app.api.stableprojectorz.client_routes import MODEL_URL
from trellis.app.api.stableprojectorz.openapi import form_body, resume_query
from trellis.app.api.stableprojectorz.options import FORM, form_request, resume_options
from trellis.app.api.stableprojectorz.single_generation import Slot, SlotStatus, Work
from trellis.app.job_sources import MAX_PICTURES
from trellis.app.picture_reader import Content

PREVIEW_URLS = PreviewUrls(gaussian="/download/preview/gaussian", mesh="/download/preview/mesh")
FAILURES = ERRORS[400] | ERRORS[413] | ERRORS[415] | ERRORS[422] | ERRORS[499] | ERRORS[500] | ERRORS[503] | ERRORS[507]
# names of the file field and of the base64 field
SINGLE = ("file", "image_base64")
MULTI = ("file_list", "image_list_base64")


def legacy_routes(jobs: Jobs, slot: Slot, settings: ApiSettings) -> APIRouter:
    """The blocking form routes; they share the one slot of clients without job ids."""
    router = APIRouter(tags=["Forms, without job ids"])

    def add(path: str, fields: tuple[str, str], *, preview: bool) -> None:
        several = fields is MULTI

        async def generate(request: Request) -> Generation:
            async def prepare() -> Work:
                return await read_work(request, fields, jobs, settings, preview=preview)

            return answer(await slot.generate(prepare), preview=preview)

        pictures = "several pictures of one object" if several else "a picture"
        generate.__doc__ = (
            f"Generate {'a preview' if preview else 'a model'} of {pictures}; answers when it is finished."
        )
        router.post(path, name=path.strip("/"), responses=FAILURES, openapi_extra=form_body(fields))(generate)

    add("/generate_no_preview", SINGLE, preview=False)
    add("/generate_preview", SINGLE, preview=True)
    add("/generate_multi_no_preview", MULTI, preview=False)
    add("/generate_multi_preview", MULTI, preview=True)

    @router.post(
        "/resume_from_preview",
        responses=ERRORS[409] | ERRORS[422] | ERRORS[499] | ERRORS[500] | ERRORS[503] | ERRORS[507],
        openapi_extra=resume_query(),
    )
    async def resume_from_preview(request: Request) -> Generation:
        """Write the model of the generation whose preview is ready; its asset is not sampled again."""
        return answer(await slot.resume(*resume_options(request.query_params)), preview=False)

    return router


def answer(outcome: SlotStatus, *, preview: bool) -> Generation:
    """The answer to a generation that went well."""
    return Generation(
        status=outcome.state,
        progress=outcome.progress,
        message=outcome.message,
        preview_urls=PREVIEW_URLS if preview else None,
        model_url=None if preview else MODEL_URL,
    )


async def read_work(
    request: Request, fields: tuple[str, str], jobs: Jobs, settings: ApiSettings, *, preview: bool
) -> Work:
    """The checked request and pictures of a form; raises ApiError naming the field."""
    limit = settings.max_upload_bytes
    async with received(request, limit) as body, jobs.reading, opened_form(request, body) as form:
        values = {name: text_field(form, name) for name in (*FORM, "output_format")}
        options = form_request(values, preview=preview)
        contents = _contents(form, fields)
        pictures = await read_pictures(jobs.pictures, contents, max_pixels=settings.max_picture_pixels)
    return Work(options, Source(pictures), preview=preview)


def _contents(form: FormData, fields: tuple[str, str]) -> list[tuple[str, Content]]:
    """(field, file or base64) of every picture that a form holds."""
    file_name, text_name = fields
    found: list[tuple[str, Content]] = [
        (f"{file_name}[{i}]" if fields is MULTI else file_name, file)
        for i, file in enumerate(file_field(form, file_name))
    ]
    for index, value in enumerate(form.getlist(text_name)):
        field = f"{text_name}[{index}]" if fields is MULTI else text_name
        if not isinstance(value, str):
            raise FieldError(field, f"{field} must be base64 text; upload files as {file_name}.")
        if value:
            found.append((field, value))
    most = MAX_PICTURES if fields is MULTI else 1
    if not 1 <= len(found) <= most:
        count = f"between 1 and {most} pictures" if fields is MULTI else "one picture"
        raise FieldError(file_name, f"Give {count}, as {file_name} or {text_name}.")
    return found

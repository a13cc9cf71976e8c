"""Reading what is submitted to /jobs: JSON with base64 or a form with files, in the terms of its operation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from fastapi import Request
from starlette.datastructures import FormData

from trellis.app.api.bodies import file_field, file_name, is_form, is_json, opened_form, read_json, received
from trellis.app.api.errors import ApiError, FieldError
from trellis.app.api.jobs import Jobs, Source
from trellis.app.api.numbers import parse_number
from trellis.app.api.pictures import read_pictures
from trellis.app.api.settings import ApiSettings
from trellis.app.boxes import read_box
from trellis.app.long_texts import LongText
from trellis.app.mesh_reader import ReadMesh, mesh_ending
from trellis.app.picture_reader import Content
from trellis.app.request import JobRequest, operation_of, read_request
from trellis.options import Option

LONGEST_VIEW = 10_000  # characters
SOURCE_FIELDS = ("prompt", "model", "source")  # beside the pictures and the mesh


@dataclass(frozen=True)
class Submission:
    """A checked request and what the job is made of."""

    request: JobRequest
    source: Source


async def read_submission(request: Request, jobs: Jobs, settings: ApiSettings) -> Submission:
    """The checked request, and pictures or prompt, of a submission; raises ApiError, InvalidInputError."""
    if not is_json(request) and not is_form(request):
        raise ApiError(415, "Send JSON (application/json) or a form with files (multipart/form-data).")
    async with received(request, settings.max_upload_bytes) as body:
        async with jobs.reading:
            submission = await _taken_apart(request, body, jobs, settings)
        await jobs.check_mesh(submission.source, up=submission.request.reading.get("up", "auto"))
    return submission


async def _taken_apart(request: Request, body: IO[bytes], jobs: Jobs, settings: ApiSettings) -> Submission:
    if is_json(request):
        values = await read_json(body)
        pictures = _texts(values.pop("pictures", []))
        mesh = _base64("mesh", values.pop("mesh")) if "mesh" in values else None
        return await _checked(values, pictures, mesh, jobs, settings)
    async with opened_form(request, body) as form:
        files = [(f"pictures[{index}]", file) for index, file in enumerate(file_field(form, "pictures"))]
        values = form_values(form)
        meshes = file_field(form, "mesh")
        if meshes:
            values.setdefault("mesh_name", file_name(form, "mesh"))
        return await _checked(values, files, next(iter(meshes), None), jobs, settings)


async def _checked(
    values: dict[str, Any],
    contents: Sequence[tuple[str, Content]],
    mesh: Content | None,
    jobs: Jobs,
    settings: ApiSettings,
) -> Submission:
    prompt, model, source = (_text(name, values.pop(name)) if name in values else None for name in SOURCE_FIELDS)
    mesh_name = _text("mesh_name", values.pop("mesh_name", ""))
    checked = read_request(values)
    if mesh is not None:
        mesh_ending(mesh_name)
    # Before the work of reading pictures and mesh.
    await jobs.check(checked, model, prompt=prompt, pictures=len(contents), source=source, mesh=mesh is not None)
    pictures = await read_pictures(jobs.pictures, contents, max_pixels=settings.max_picture_pixels)
    kept: ReadMesh | None = None if mesh is None else await jobs.keep_mesh(mesh, mesh_name)
    return Submission(checked, Source(pictures, prompt, model, source, kept))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise FieldError(name, f"{name} must be a text.")
    return value


def _texts(value: object) -> list[tuple[str, Content]]:
    if not isinstance(value, list):
        raise FieldError("pictures", "pictures must be a list of base64 texts.")
    fields = [f"pictures[{index}]" for index in range(len(value))]
    return [(field, _base64(field, item or None)) for field, item in zip(fields, value, strict=True)]


def _base64(field: str, value: object) -> str | LongText:
    if not isinstance(value, str | LongText):
        raise FieldError(field, f"{field} must be a base64 text.")
    return value


def form_values(form: FormData) -> dict[str, Any]:
    """The values that a form's text fields state, in their own types; raises FieldError, InvalidInputError."""
    fields: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for name in form if name not in ("pictures", "mesh")):
        given = form.getlist(name)
        fields[name] = [value for value in given if isinstance(value, str)]
        if len(fields[name]) < len(given):
            raise FieldError(name, f"{name[:80]!r} must be text, not a file.")
    known = operation_of({name: texts[-1] for name, texts in fields.items()}).options()
    values: dict[str, Any] = {
        name: _from_texts(name, known[name], texts) if name in known else texts[-1] for name, texts in fields.items()
    }
    if "view" in values:
        values["view"] = _view(values["view"])
    return values


def _view(text: str) -> Any:
    if len(text) > LONGEST_VIEW:
        raise FieldError("view", "view is too long: it is the content of a view's JSON file.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FieldError("view", f"view is not valid JSON: {error}") from error


def _from_texts(name: str, option: Option, texts: list[str]) -> Any:
    text = texts[-1].strip()
    if name == "box":
        return [read_box(item) for item in texts if item.strip()] or None
    if option.null is not None and text in ("", "null"):
        return None
    if option.kind == "array":
        return [part.strip() for item in texts for part in item.split(",")]
    if option.kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    if option.values:
        return next((value for value in option.values if str(value) == text), text)
    return text if option.kind == "string" else parse_number(name, text)

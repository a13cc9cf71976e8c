"""Reading what is submitted to /jobs: JSON with base64 or a form with files, in the terms of the options' table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData

from trellis.app.api.bodies import file_field, is_form, is_json, opened_form, read_json, received
from trellis.app.api.errors import ApiError, FieldError
from trellis.app.api.jobs import Jobs, Source
from trellis.app.api.numbers import parse_number
from trellis.app.api.pictures import read_pictures
from trellis.app.api.settings import ApiSettings
from trellis.app.picture_reader import Content
from trellis.app.request import Choice, GenerationRequest, Option, Range, Subset, Switch, options
from trellis.errors import InvalidInputError

SOURCE_FIELDS = ("prompt", "model")  # beside the pictures


@dataclass(frozen=True)
class Submission:
    """A checked request and what the job is made of."""

    request: GenerationRequest
    source: Source


async def read_submission(request: Request, jobs: Jobs, settings: ApiSettings) -> Submission:
    """The checked request, and pictures or prompt, of a submission; raises ApiError or SourceError naming the field."""
    if not is_json(request) and not is_form(request):
        raise ApiError(415, "Send JSON (application/json) or a form with files (multipart/form-data).")
    async with received(request, settings.max_upload_bytes) as body, jobs.reading:
        if is_json(request):
            values = await read_json(body)
            return await _checked(values, _texts(values.pop("pictures", [])), jobs, settings)
        async with opened_form(request, body, settings.max_upload_bytes) as form:
            files = [(f"pictures[{index}]", file) for index, file in enumerate(file_field(form, "pictures"))]
            return await _checked(form_values(form), files, jobs, settings)


async def _checked(
    values: dict[str, Any], contents: Sequence[tuple[str, Content]], jobs: Jobs, settings: ApiSettings
) -> Submission:
    prompt, model = (_text(name, values.pop(name)) if name in values else None for name in SOURCE_FIELDS)
    jobs.models.choose(model, prompt=prompt, pictures=len(contents))  # before the work of reading pictures
    checked = checked_request(values)
    pictures = await read_pictures(jobs.pictures, contents, max_pixels=settings.max_picture_pixels)
    return Submission(checked, Source(pictures, prompt, model))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise FieldError(name, f"{name} must be a text.")
    return value


def _texts(value: object) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise FieldError("pictures", "pictures must be a list of base64 texts.")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item:
            raise FieldError(f"pictures[{index}]", f"pictures[{index}] must be a base64 text.")
    return [(f"pictures[{index}]", item) for index, item in enumerate(value)]


def checked_request(values: Mapping[str, Any]) -> GenerationRequest:
    """A request of plain values; raises FieldError naming the option that is unknown or out of its range."""
    known = options()
    for name, value in values.items():
        if name not in known:
            raise FieldError(name, f"Unknown option {name[:80]!r}; known: {', '.join(known)}.")
        try:
            known[name].parse(name, value)
        except InvalidInputError as error:
            raise FieldError(name, str(error)) from error
    return GenerationRequest.from_dict(values)


def form_values(form: FormData) -> dict[str, Any]:
    """The options that a form's text fields state, in their own types; raises FieldError."""
    values = {}
    for name in dict.fromkeys(name for name in form if name != "pictures"):
        texts = [value for value in form.getlist(name) if isinstance(value, str)]
        if len(texts) < len(form.getlist(name)):
            raise FieldError(name, f"{name[:80]!r} must be text, not a file.")
        option = options().get(name)
        values[name] = texts[-1] if option is None else _from_texts(name, option, texts)
    return values


def _from_texts(name: str, option: Option, texts: list[str]) -> Any:
    text = texts[-1].strip()
    if option.optional and text in ("", "null"):
        return None
    if isinstance(option.domain, Range):
        return parse_number(name, text)
    if isinstance(option.domain, Choice):
        return next((value for value in option.domain.values if str(value) == text), text)
    if isinstance(option.domain, Switch):
        return {"true": True, "false": False}.get(text.lower(), text)
    assert isinstance(option.domain, Subset)
    return [part.strip() for item in texts for part in item.split(",")]

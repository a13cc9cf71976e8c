"""What the OpenAPI document says about requests: made from the classes that also check them."""

from typing import Any

from pydantic import BaseModel, Field

from trellis.app.job_sources import LONGEST_PROMPT, MAX_PICTURES, Models
from trellis.app.request import OPERATIONS, JobRequest, Operations

PICTURE_TEXT = {"type": "string", "format": "byte", "contentEncoding": "base64", "minLength": 1}
PICTURE_FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}


class Problem(BaseModel):
    """What was wrong with a request."""

    detail: str = Field(description="One sentence for people.")
    field: str | None = Field(description="The field that it is about, where it is about one.")


_MEANINGS = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    404: "There is no such thing (any more).",
    409: "Not in this state.",
    413: "The request is too large.",
    415: "The request has another type than the ones listed.",
    422: "A field has a value that cannot be used.",
    499: "The generation was cancelled.",
    500: "The generation failed; the detail says why.",
    503: "The queue is full, no turn came in time or the results cannot be written; try again later.",
    507: "The disk of the results is full.",
}
ERRORS: dict[int, dict[int | str, dict[str, Any]]] = {
    status: {status: {"model": Problem, "description": meaning}} for status, meaning in _MEANINGS.items()
}


def request_properties(operation: type[JobRequest]) -> dict[str, Any]:
    """The JSON schema of every field of a request."""
    properties = {}
    for name, schema in operation.model_json_schema()["properties"].items():
        meaning = f" null: {schema['x-null']}." if "x-null" in schema else ""
        terms = {key: value for key, value in schema.items() if key not in ("x-null", "x-step")}
        properties[name] = terms | ({"description": terms["description"] + meaning} if meaning else {})
    return properties


def job_body(models: Models, operations: Operations = OPERATIONS) -> dict[str, Any]:
    """The bodies that POST /jobs takes: pictures as base64 in JSON or as files of a form, or else a prompt."""
    bodies = [_operation_bodies(models, operation) for operation in operations.values()]
    kinds = {kind: [body[kind] for body in bodies] for kind in bodies[0]}
    return request_body({kind: same[0] if len(same) == 1 else {"oneOf": same} for kind, same in kinds.items()})


def _operation_bodies(models: Models, operation: type[JobRequest]) -> dict[str, Any]:
    pictures = {"type": "array", "minItems": 1, "maxItems": MAX_PICTURES}
    others = source_properties(models) | request_properties(operation)
    one_source = {"oneOf": [{"required": ["pictures"]}, {"required": ["prompt"]}]}
    as_json = {"pictures": pictures | {"items": PICTURE_TEXT, "description": "Pictures of one object."}, **others}
    texts = {name: _or_empty(schema) for name, schema in others.items()}
    as_form = {"pictures": pictures | {"items": PICTURE_FILE, "description": "Picture files."}, **texts}
    return {
        "application/json": closed_object(as_json, []) | one_source,
        "multipart/form-data": closed_object(as_form, []) | one_source,
    }


def _or_empty(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a form's field: a text that is empty says null."""
    return schema | {"anyOf": [*schema["anyOf"], {"const": ""}]} if "anyOf" in schema else schema


def source_properties(models: Models) -> dict[str, Any]:
    """The JSON schema of a prompt and of the model."""
    text_models = ", ".join(models.taking(prompts=True)) or "none is here"
    return {
        "prompt": {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_PROMPT,
            "pattern": r"\S",
            "description": f"What the object is, in English, in place of pictures; needs a text model ({text_models}).",
        },
        "model": {
            "type": "string",
            "enum": list(models.names),
            "description": "Default: the first here that takes what is given. One that is named is fetched if need be.",
        },
    }


def files_body() -> dict[str, Any]:
    """The body of POST /jobs/{job_id}/files: the options that decide an asset's files."""
    decisive = {"operation", *JobRequest.decisive_options()}
    properties = {name: schema for name, schema in request_properties(JobRequest).items() if name not in decisive}
    return request_body({"application/json": closed_object(properties, [])})


def file_answer(media_type: str) -> dict[int | str, dict[str, Any]]:
    """The answer of a route that gives a file."""
    return {200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


def job_links() -> dict[int | str, dict[str, Any]]:
    """The answer to a submission, with what can be done with the job."""
    places = {
        "show": ("/jobs/{job_id}", "get"),
        "watch": ("/jobs/{job_id}/events", "get"),
        "cancel": ("/jobs/{job_id}/cancel", "post"),
        "delete": ("/jobs/{job_id}", "delete"),
        "result": ("/jobs/{job_id}/result", "get"),
        "draft": ("/jobs/{job_id}/draft", "get"),
        "extract": ("/jobs/{job_id}/files", "post"),
    }
    links = {
        name: {
            "operationRef": f"#/paths/{path.replace('/', '~1')}/{method}",
            "parameters": {"job_id": "$response.body#/id"},
        }
        for name, (path, method) in places.items()
    }
    return {202: {"description": "The job is queued.", "links": links}}


def closed_object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The schema of an object that has no other properties."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def request_body(contents: dict[str, Any]) -> dict[str, Any]:
    """The body of a route, by its media types."""
    return {
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind, schema in contents.items()}}
    }

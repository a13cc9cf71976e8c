"""What the OpenAPI document says about requests: made from the classes that also check them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, Field

from trellis.app.boxes import MOST_BOXES
from trellis.app.job_sources import LONGEST_PROMPT, MAX_PICTURES, STARTS, Models
from trellis.app.request import OPERATIONS, AssetRequest, EditRequest, JobRequest, Operations
from trellis.encoding.options import MESH_FORMATS

PICTURE_TEXT = {"type": "string", "format": "byte", "contentEncoding": "base64", "minLength": 1}
PICTURE_FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}


class Problem(BaseModel):
    """What was wrong with a request."""

    detail: str = Field(description="One sentence for people.")
    field: str | None = Field(description="The field that it is about, where it is about one.")


_MEANINGS = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    403: "The licence of the model is not accepted yet.",
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
    document = _schema_of(operation)
    frame = document.get("$defs", {}).get("PictureFrame", {})  # a reference would lead nowhere in the document
    properties = {}
    for name, schema in document["properties"].items():
        if name == "view":
            schema = schema | {"anyOf": [frame, {"type": "null"}]}
        meaning = f" null: {schema['x-null']}." if "x-null" in schema else ""
        terms = {key: value for key, value in schema.items() if key not in ("x-null", "x-step")}
        properties[name] = terms | ({"description": terms["description"] + meaning} if meaning else {})
    return properties


@cache
def _schema_of(operation: type[JobRequest]) -> dict[str, Any]:
    return operation.model_json_schema()


def job_body(models: Models, operations: Operations = OPERATIONS) -> dict[str, Any]:
    """The bodies that POST /jobs takes, of any of the operations.

    Pictures and a mesh are base64 in JSON, or files of a form.
    """
    bodies = [_operation_bodies(models, operation) for operation in operations.values()]
    kinds = {kind: [body[kind] for body in bodies] for kind in bodies[0]}
    return request_body({kind: same[0] if len(same) == 1 else {"oneOf": same} for kind, same in kinds.items()})


def _operation_bodies(models: Models, operation: type[JobRequest]) -> dict[str, Any]:
    name = operation.model_fields["operation"].default
    starts, steered = STARTS.get(name, ()), name != "encode"
    rules = [_one_of("pictures", "prompt")] if steered else []
    rules += [_one_of(*starts)] if starts else []
    if operation is EditRequest:
        rules[0]["oneOf"].append({"required": ["remove"], "properties": {"remove": {"const": True}}})
    required = [*(["operation"] if starts else []), *(["box"] if operation is EditRequest else [])]
    others = source_properties(models, starts, steered=steered) | request_properties(operation)
    texts = {name: _as_text(name, schema) for name, schema in others.items()}
    bodies = {}
    for kind, file, properties in (
        ("application/json", PICTURE_TEXT, others),
        ("multipart/form-data", PICTURE_FILE, texts),
    ):
        pictures = {"type": "array", "minItems": 1, "maxItems": MAX_PICTURES, "items": file}
        files: dict[str, Any] = {"pictures": pictures | {"description": "Pictures of one object."}} if steered else {}
        if "mesh" in starts:
            files["mesh"] = file | {"description": f"A mesh file: {', '.join(MESH_FORMATS)}."}
        bodies[kind] = closed_object({**files, **properties}, required) | {"allOf": rules}
    return bodies


def _one_of(*names: str) -> dict[str, Any]:
    return {"oneOf": [{"required": [name]} for name in names]}


def _as_text(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a form's field: a text that is empty says null; a box is a text, of which there may be several."""
    if name == "box":
        boxes = {"type": "string", "description": "A box as x,y,z,x,y,z."}
        return {"type": "array", "items": boxes, "minItems": 1, "maxItems": MOST_BOXES}
    if name == "view":
        return {"type": "string", "description": "The view of the picture, as JSON."}
    return schema | {"anyOf": [*schema["anyOf"], {"const": ""}]} if "anyOf" in schema else schema


def source_properties(models: Models, starts: Sequence[str] = (), *, steered: bool = True) -> dict[str, Any]:
    """The JSON schema of a prompt, of the model, and of what an operation starts from."""
    text_models = ", ".join(models.taking(prompts=True)) or "none is here"
    prompt = {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_PROMPT,
        "pattern": r"\S",
        "description": f"What the object is, in English, in place of pictures; needs a text model ({text_models}).",
    }
    job = {"type": "string", "description": "The finished job that it starts from."}
    endings = ", ".join(MESH_FORMATS)
    name = {"type": "string", "description": f"What the mesh is called; its ending says what it is: {endings}."}
    return {
        **({"prompt": prompt} if steered else {}),
        **({"source": job} if "source" in starts else {}),
        **({"mesh_name": name} if "mesh" in starts else {}),
        "model": {
            "type": "string",
            "enum": list(models.names),
            "description": "Default: the first here that takes what is given. One that is named is fetched if need be.",
        },
    }


def files_body() -> dict[str, Any]:
    """The body of POST /jobs/{job_id}/files: the options that decide an asset's files."""
    decisive = {"operation", *AssetRequest.decisive_options()}
    properties = {name: schema for name, schema in request_properties(AssetRequest).items() if name not in decisive}
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

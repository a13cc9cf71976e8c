"""The OpenAPI document: made of the options' table, and kept by every route (schemathesis)."""

import base64
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from unittest import SkipTest

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, assume, given, reject, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from jsonschema_rs import is_valid
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.api.conftest import png
from tests.unit.app.engines import start_engine
from tests.unit.app.process_fakes import open_pipeline
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings
from trellis.app.request import OPERATIONS, EditRequest, EncodeRequest, GenerationRequest

EXAMPLES = 25  # per operation; CI runs on two cores
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]

# Generated pictures are real ones now and then, so that jobs are made too.
schemathesis.openapi.format(
    "byte",
    st.one_of(st.just(base64.b64encode(png()).decode()), st.binary().map(lambda b: base64.b64encode(b).decode())),
)
schemathesis.openapi.format("binary", st.one_of(st.just(png()), st.binary()))


def operations() -> list[tuple[str, str]]:
    """Every (method, path) of the document."""
    paths = create_api(start_engine(never, Path(), model="none"), ApiSettings()).openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def never() -> NoReturn:
    raise AssertionError("nothing is generated for the list of operations")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    load = partial(open_pipeline, folder=str(folder))
    # A queue that is never full: how many jobs wait depends on the machine.
    engine = start_engine(load, folder / "jobs", models=["words"], texts=["words"], queue_limit=10_000)
    yield schemathesis.openapi.from_asgi("/openapi.json", create_api(engine, ApiSettings(names=("testserver",))))
    engine.close()


@st.composite
def requests(draw: st.DrawFn, operation: schemathesis.APIOperation, mode: GenerationMode) -> schemathesis.Case:
    """Requests of an operation, but for those that schemathesis fails to make: its validator knows no files."""
    try:
        return draw(operation.as_strategy(generation_mode=mode))
    except ValueError as error:
        if "Unsupported type: 'Binary'" not in str(error):
            raise
        reject()


def is_wrong(schema: dict[str, Any], form: object) -> bool:
    """Whether a form breaks its schema as it arrives: an empty list is no field at all, and every value is a text."""
    if not isinstance(form, dict):
        return True
    arrived = {name: value for name, value in form.items() if value != []}
    return all(not _fits(part, dict(arrived)) for part in schema.get("oneOf", [schema]))


def _fits(schema: dict[str, Any], arrived: dict[str, Any]) -> bool:
    for name, value in arrived.items():
        texts = [text_of(item) for item in (value if isinstance(value, list) else [value])]
        part = schema["properties"].get(name, {})
        readings = [
            texts,
            [word.strip() for text in texts for word in text.split(",")],
            *map(reading, texts[-1:]),
            *texts,
        ]
        arrived[name] = next((given for given in readings if is_valid(part, given)), texts)
    return is_valid(schema, arrived)


def text_of(value: object) -> str:
    """What schemathesis sends for a value of a form's field; a file stands for any text."""
    return "file" if isinstance(value, bytes) else str(value) if isinstance(value, str) else json.dumps(value)


def reading(text: str) -> object:
    """What a text says where it is not meant as one."""
    try:
        return json.loads(text.strip().replace(",", ".").lower() or "null")
    except ValueError:
        return text


def test_forms_are_judged_as_they_arrive(document: schemathesis.BaseSchema) -> None:
    body = document.raw_schema["paths"]["/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]
    pictures: dict[str, Any] = {"pictures": [b"x"], "operation": "generate"}
    for form in ({"faces": None, "precision": [], "latent_steps": []}, {"seed": "7"}, {"formats": "glb,ply"}):
        assert not is_wrong(body["schema"], pictures | form), form
    for form in ({"seed": None}, {"seed": [-1]}, {"faces": "many"}, {"nonsense": 1}, {"formats": ["glb", "fbx"]}):
        assert is_wrong(body["schema"], pictures | form), form
    assert is_wrong(body["schema"], {"pictures": []}) and is_wrong(body["schema"], [])


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), operations(), ids=lambda word: word)
def test_every_operation_keeps_what_the_document_says(
    document: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    operation = document[path][method]

    @given(requests(operation, mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def keeps(case: schemathesis.Case) -> None:
        if case.media_type == "multipart/form-data" and mode is GenerationMode.NEGATIVE:
            content = operation.definition.raw["requestBody"]["content"]
            assume(is_wrong(content[case.media_type]["schema"], case.body))
        # The desktop client shows nothing but a 200: there, bad input is a 200 with FAILED (and tested elsewhere).
        refusing = [check for check in CHECKS if path != "/generate" or check is not negative_data_rejection]
        case.call_and_validate(checks=refusing)

    try:
        keeps()
    except (Unsatisfiable, SkipTest) as error:  # nothing can be wrong about a request without parameters
        assert mode is GenerationMode.NEGATIVE and not operation.body
        pytest.skip(str(error))


def test_the_document_states_the_options_table(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    contents = document["paths"]["/jobs"]["post"]["requestBody"]["content"]
    for kind in ("application/json", "multipart/form-data"):
        parts = [part["properties"] for part in contents[kind]["schema"]["oneOf"]]
        assert [part["operation"]["const"] for part in parts] == list(OPERATIONS)
        for properties, operation in zip(parts, OPERATIONS.values(), strict=True):
            beside = {"model", "operation"} | ({"pictures", "prompt"} if operation is not EncodeRequest else set())
            beside |= {"view"} if operation is EditRequest else set()
            beside |= {"mesh", "mesh_name"} if operation is not GenerationRequest else set()
            beside |= {"source"} if operation not in (GenerationRequest, EncodeRequest) else set()
            assert set(properties) == beside | set(operation.options())
            assert properties["model"]["enum"] == ["fake", "other", "words"]
            for name, option in operation.options().items():
                if (name, kind) != ("box", "multipart/form-data"):
                    stated = (properties[name].get("default"), properties[name]["title"])
                    assert stated == (option.default, option.label)
    assert set(document["paths"]) >= {"/ping", "/generate", "/resume_from_preview", "/jobs/{job_id}/events"}


def test_the_documentation_needs_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/docs", "/redoc"):
        page = client.get(path)
        assert page.status_code == 200 and "POST</b> /generate_no_preview" in page.text
        assert "http://" not in page.text and "https://" not in page.text and "<script" not in page.text

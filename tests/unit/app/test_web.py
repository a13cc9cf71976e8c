"""The web application with a fake pipeline: results by id, refusal of other sites, nothing fetched from outside."""

import ast
import hashlib
import io
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio
import pytest
from fastapi.testclient import TestClient

from tests.contract.sources import ROOT
from tests.unit.app.engines import start_engine
from tests.unit.app.fakes import PICTURE, FakePipeline
from trellis.app.engine import Engine
from trellis.app.jobs import Job, JobState
from trellis.app.likeness import ADVICE, DOUBT, LIMIT, LOOK, UNLIKE
from trellis.app.model_choices import offered_models
from trellis.app.request import EditRequest, GenerationRequest, VariantRequest
from trellis.app.ui import entries, fragments, preset_table
from trellis.app.ui.cutouts import WAYS
from trellis.app.ui.languages import language_tables
from trellis.app.ui.owners import COOKIE, PAGE_OWNER, owner_of
from trellis.app.ui.page import create_page
from trellis.app.ui.sections import header
from trellis.app.ui.sections.editing import HINT
from trellis.app.ui.web import STATIC, create_app
from trellis.families.family import VIEWS
from trellis.families.registry import licences
from trellis.progress import StepInfo
from trellis.runtime import ModelFiles
from trellis.stages import Stage

HOME = "http://127.0.0.1:7960"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = start_engine(FakePipeline, tmp_path / "jobs")
    yield engine
    engine.close()


@pytest.fixture
def client(engine: Engine) -> Iterator[TestClient]:
    app = create_app(engine, create_page(engine))
    with TestClient(app, base_url=HOME) as client:
        yield client


def finished_job(engine: Engine) -> str:
    job_id = engine.submit(GenerationRequest(formats=("glb", "ply")), [PICTURE])
    while not engine.view(job_id).state.final:
        time.sleep(0.01)
    return job_id


def test_results_are_served_by_their_id(client: TestClient, engine: Engine) -> None:
    job_id = finished_job(engine)
    answer = client.get(f"/results/{job_id}/asset.glb")
    assert answer.status_code == 200 and answer.headers["content-type"] == "model/gltf-binary"
    assert answer.content[:4] == b"glTF"


def test_a_value_that_a_busy_page_has_not_shown_is_not_changed_by_the_next(client: TestClient) -> None:
    """The browser carries edits out in the value before: deleting its keys would take the model from the viewer."""
    files, skip = {"glb": "/results/a/asset.glb", "name": "a"}, {"__type__": "update"}
    assert gradio.utils.diff(files, skip) == [["replace", [], skip]]
    assert gradio.utils.diff(files, dict(files)) == []


def test_a_page_at_rest_keeps_no_connection(client: TestClient) -> None:
    """A browser has six for all pages of a server: with one for each page the fifth never opened."""
    assert client.get("/config").json()["connect_heartbeat"] is False


def test_only_results_are_served(client: TestClient, engine: Engine) -> None:
    job_id = finished_job(engine)
    for name in ("request.json", "picture_0.png", "..%2F..%2Fsecret", "asset.obj", "%2Fetc%2Fpasswd", "asset.glb%00"):
        assert client.get(f"/results/{job_id}/{name}").status_code == 404, name


def test_an_obj_comes_with_its_material_and_pictures_in_one_archive(client: TestClient, engine: Engine) -> None:
    job_id = engine.submit(GenerationRequest(formats=("glb", "obj", "ply")), [PICTURE])
    while not engine.view(job_id).state.final:
        time.sleep(0.01)
    for bundle, names in (
        ("obj", ["asset.mtl", "asset.obj", "asset_base_color.png"]),
        ("all", ["asset.glb", "asset.mtl", "asset.obj", "asset.ply", "asset_base_color.png"]),
    ):
        for _ in range(2):  # the second answer is the archive that was kept
            answer = client.get(f"/results/{job_id}/bundle/{bundle}.zip")
            assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
            archive = zipfile.ZipFile(io.BytesIO(answer.content))
            assert archive.testzip() is None and sorted(archive.namelist()) == names
        assert archive.read("asset.obj") == engine.view(job_id).files["obj"].read_bytes()


@pytest.mark.parametrize("name", ["obj.zip", "none.zip", "..%2Fall.zip", "all.tar"])
def test_only_bundles_of_what_is_there(client: TestClient, engine: Engine, name: str) -> None:
    assert client.get(f"/results/{finished_job(engine)}/bundle/{name}").status_code == 404
    assert client.get(f"/results/{'0' * 32}/bundle/all.zip").status_code == 404


def test_an_unknown_job_is_not_found(client: TestClient) -> None:
    assert client.get(f"/results/{'0' * 32}/asset.glb").status_code == 404


def test_other_sites_and_names_are_refused(client: TestClient) -> None:
    assert client.get("/viewer.js", headers={"Origin": "https://example.org"}).status_code == 403
    assert client.post("/gradio_api/queue/join", headers={"Origin": "null"}, json={}).status_code == 403
    assert client.get("/viewer.js", headers={"Origin": HOME}).status_code == 200


@pytest.mark.parametrize("name", ["viewer.js", "languages.js"])
def test_a_script_that_a_browser_has_is_not_sent_again(client: TestClient, name: str) -> None:
    first = client.get(f"/{name}")
    assert first.headers["content-type"].startswith("text/javascript") and first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    again = client.get(f"/{name}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = client.get(f"/{name}", headers={"If-None-Match": '"of an older version"'})
    assert other.status_code == 200 and other.content == first.content


def test_the_icons_that_browsers_ask_for_are_there(client: TestClient) -> None:
    icons = client.get("/manifest.json").json()["icons"]
    answers = [client.get(icon["src"]) for icon in icons]
    assert [(answer.status_code, answer.headers["content-type"]) for answer in answers] == [(200, "image/png")] * 2
    assert client.get("/pwa_icon/99999").status_code == 404  # Gradio makes any size


def test_the_page_names_no_other_server(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    fetched = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?:https?:)?//([^/\":]+)", answer.text)
    assert set(fetched) <= {"127.0.0.1"}


def test_the_viewer_script_keeps_the_licences_of_its_parts() -> None:
    script = (STATIC / "viewer.js").read_text(encoding="utf-8")
    for notice in ("three 0.183", "@sparkjsdev/spark 2.2.0", "fflate", "The above copyright notice"):
        assert notice in script[:8000]


def test_the_viewer_script_is_built_from_its_sources() -> None:
    folder, digest = STATIC.parent / "viewer", hashlib.sha256()
    sources = sorted(path.name for path in (folder / "src").iterdir())
    for name in ["build.mjs", "package-lock.json", *(f"src/{source}" for source in sources)]:
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    script = (STATIC / "viewer.js").read_text(encoding="utf-8")
    assert f"Sources: {digest.hexdigest()}" in script[:100], "run `npm ci && npm run build` in trellis/app/ui/viewer"


def test_every_text_of_the_viewer_has_its_translations() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (STATIC.parent / "viewer" / "src").glob("*.js"))
    names = re.findall(r"^const (?:MODES|LIGHTS|BACKGROUNDS) = \{(.+)\};$", code, re.MULTILINE)
    texts = {text for group in names for text in re.findall(r': "([^"]+)"', group)}
    texts |= set(re.findall(r'(?:aria-label|alt)="([^"$]+)"', code)) | set(re.findall(r"<span>([^<$]+)</span>", code))
    texts |= set(re.findall(r'(?:button|help)\("[^"]+", "([^"]+)"', code)) | set(re.findall(r'say\("([^"]+)"\)', code))
    assert len(names) == 3 and len(texts) > 30
    for language in ("ko", "zh"):
        assert sorted(texts - set(language_tables()[language])) == []


def test_results_are_for_their_owner_alone(client: TestClient, engine: Engine) -> None:
    assert COOKIE not in client.get("/viewer.js").headers.get("set-cookie", "")
    cookie = client.get("/").headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    secret = client.cookies[COOKIE]
    assert "set-cookie" not in client.get("/").headers  # kept from then on
    job_id = engine.submit(GenerationRequest(formats=("glb",)), [PICTURE], owner=owner_of(secret))
    while not engine.view(job_id).state.final:
        time.sleep(0.01)
    addresses = [f"/results/{job_id}/{name}" for name in ("asset.glb", "draft.png", "framed.png", "bundle/all.zip")]
    addresses.append(f"/results/{job_id}/picture_0.png")
    assert [client.get(address).status_code for address in addresses] == [200] * 5
    for other in ("", "x" * 40, secret[:-1], owner_of(secret)):
        client.cookies = {COOKIE: other}  # type: ignore[assignment]
        assert [client.get(address).status_code for address in addresses] == [404] * 5
    record = (engine.view(job_id).files["glb"].parent / "request.json").read_text()
    assert secret not in record  # the folder gives nobody the way in


def test_every_text_of_the_page_has_its_translations() -> None:
    texts = {
        text
        for option in GenerationRequest.options().values()
        for text in (option.label, option.help, option.null)
        if text
    }
    texts |= {
        str(value) for name in ("quality", "multi_image", "speed", "texture_mode", "preset") for value in _values(name)
    }
    texts |= {*(stage.caption for stage in Stage), *WAYS.values(), header.SUBTITLE}
    for path in Path(header.__file__).parent.glob("*.py"):
        texts |= _literals(path, ("label", "info")) | _notes(path)
    texts |= {"Generate", "Cancel", "Delete this model", "Use", "Fetch", "In use", "Try again", "Cancel fetching"}
    texts |= {"Demo model: {0} kinds of simple objects", "{0} kinds of simple objects", "Licence: {0}", "Memory"}
    nano = next(model for model in offered_models("nano", ModelFiles()) if model.name == "nano")
    assert len(nano.kinds) == 87 and nano.licence == "MIT"
    texts |= {*preset_table.HEADS, preset_table.UNMEASURED, preset_table.STUDY_NOTE, "I accept the {0}", *VIEWS}
    texts |= {term for licence in licences().values() for term in licence.terms}
    texts |= {*nano.kinds, *(path.stem.capitalize() for path in (ROOT / "assets" / "example_image").glob("*.png"))}
    tables = language_tables()
    assert set(tables) == {"en", "ko", "zh"}
    for language, table in tables.items():
        if language == "en":
            continue
        missing = sorted(text for text in texts if text not in table)
        assert not missing, (language, missing)
        for english, translated in table.items():
            assert translated.strip() and english.count("{") == translated.count("{"), (language, english)
            assert "models get" not in english, "the page has buttons for what its notes advise"


def test_a_result_that_does_not_look_like_its_picture_is_not_called_done() -> None:
    done = Job(folder=Path("x"), model="", request=GenerationRequest(), state=JobState.DONE, likeness=LIMIT)
    assert "<strong>Done</strong>" in fragments.job_panel(done) and UNLIKE not in fragments.job_panel(done)
    assert LOOK in fragments.job_panel(done) and LOOK not in fragments.job_panel(done.changed(likeness=DOUBT))
    panel = fragments.job_panel(done.changed(likeness=LIMIT - 0.1))
    assert f"<strong>{UNLIKE}</strong>" in panel and "Done" not in panel and 'data-quality="unlike"' in panel
    assert f"Likeness {LIMIT - 0.1:.0%}" in panel and ADVICE in panel
    assert 'data-tool="box"' not in panel  # there is no picture to draw on
    led = fragments.job_panel(done.changed(likeness=LIMIT - 0.1, pictures=(Path("a.png"),), notes=("a note",)))
    assert 'data-cutout="0" data-tool="box"' in led and "#vary" in led and "<summary>Notes (1)</summary>" in led
    # A variant has the outline of its source, whatever the picture's is.
    variant = fragments.job_panel(done.changed(likeness=LIMIT - 0.1, request=VariantRequest()))
    assert "<strong>Done</strong>" in variant and f"Likeness {LIMIT - 0.1:.0%}" in variant and ADVICE not in variant
    text = fragments.job_panel(done.changed(likeness=None))
    assert "<strong>Done</strong>" in text and "Likeness" not in text
    for language in ("ko", "zh"):
        assert {UNLIKE, ADVICE, LOOK, "Likeness {0}%"} <= set(language_tables()[language])


def test_a_browser_without_cookies_is_told_that_its_list_goes_with_the_page() -> None:
    job = Job(folder=Path("x"), model="", request=GenerationRequest(), owner=f"{PAGE_OWNER}session")
    assert entries.NO_COOKIES in entries.strip_panel([job], None)
    assert entries.NO_COOKIES not in entries.strip_panel([job.changed(owner="digest")], None)
    made = entries.strip_panel([job.changed(state=JobState.DONE, source="another")], None)  # its name is the other's
    assert "<i>New files</i>" in made and "Done" not in made
    removed = job.changed(state=JobState.DONE, source="another", request=EditRequest(remove=True))
    assert "<i>Removed part</i>" in entries.strip_panel([removed], None)
    for language in ("ko", "zh"):
        assert {entries.NO_COOKIES, HINT, "Notes ({0})"} <= set(language_tables()[language])


def test_a_model_that_is_fetched_is_shown_in_megabytes() -> None:
    now = StepInfo(Stage.FETCH, 412, 1180, "TRELLIS-image-large")
    begin = (time.monotonic() - 34.0, 4)
    job = Job(folder=Path("x"), model="", request=GenerationRequest(), state=JobState.RUNNING, stages=(now,))
    panel = fragments.job_panel(job.changed(stage_begin=begin))
    for text in ("Fetching TRELLIS-image-large", "412 of 1,180 MB", "12 MB/s", "about 1:04 left", "width:35%"):
        assert text in panel
    unpaced = fragments.job_panel(job.changed(stage_begin=(time.monotonic(), 412)))
    assert "MB/s" not in unpaced and "left" not in unpaced


# Where what people can come upon is said: remarks on a result, and errors that a picture, a prompt or the queue causes.
SAYING = (
    "app/engine.py",
    "app/jobs.py",
    "app/job_sources.py",
    "app/ui/sections/jobs.py",
    "export/files.py",
    "memory.py",
)
SAYING += ("export/picture_blend.py", "conditioning/framing.py", "conditioning/grabcut.py", "conditioning/pictures.py")
SAYING += ("app/picture_reader.py", "app/ui/sections/jobs.py")
NOT_ON_THE_PAGE = (
    "model ",
    "Give pictures or",
    "{0}: {1}",
    "{0} holds",
    "{0} cannot be read: ",
    "The records",
    "Unknown",
)
NOT_ON_THE_PAGE += (
    "The picture to blend in",
    "This model has no",
    "A budget",
    "chunk_bytes",
    "This asset has no",
    "The name of an asset",
)


def test_what_the_program_says_has_its_translations() -> None:
    said = {text for name in SAYING for text in _sentences(ROOT / "trellis" / name)}
    assert len(said) > 20
    for language in ("ko", "zh"):
        table = language_tables()[language]
        assert sorted(text for text in said if text not in table and not text.startswith(NOT_ON_THE_PAGE)) == []


def _sentences(path: Path) -> set[str]:
    """The texts of errors that a file raises and of notes that it takes, "{0}", "{1}" for what is filled in."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            texts: list[ast.expr] = node.exc.args
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("append", "_note")
        ):
            texts = node.args
        elif isinstance(node, ast.Tuple):
            texts = [text for text in node.elts if _template(text).endswith(".")]
        else:
            continue
        found |= {text for text in map(_template, texts) if " " in text}
    return found


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    fields = iter(range(len(parts)))
    return "".join(str(part.value) if isinstance(part, ast.Constant) else f"{{{next(fields)}}}" for part in parts)


def _values(name: str) -> tuple[str, ...]:
    return GenerationRequest.options()[name].values


def _notes(path: Path) -> set[str]:
    """The values of a file's constants whose names end in NOTE."""
    found = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
    named = [(node.targets[0], node.value) for node in found]
    return {
        value.value
        for target, value in named
        if isinstance(target, ast.Name) and target.id.endswith("NOTE") and isinstance(value, ast.Constant)
    }


def _literals(path: Path, keywords: tuple[str, ...]) -> set[str]:
    """The plain texts that calls in a file give as these keywords."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    values = [keyword.value for call in calls for keyword in call.keywords if keyword.arg in keywords]
    return {value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)}

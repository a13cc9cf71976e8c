"""The whole protocol, as the desktop client lives it."""

import json
import threading
import time
from collections.abc import Callable

import pytest

from tests.api.conftest import Server, png
from tests.api.desktop_client import TIMEOUTS, DesktopClient, parse_panel
from tests.contract.sources import ROOT
from tests.unit.app.fakes import PICTURE as STORED
from tests.unit.app.waiting import wait_until
from trellis.app.api.stableprojectorz.panel import panel_text
from trellis.app.request import GenerationRequest

PICTURE = png()
LOG = ROOT / "outputs" / "desktop_client.log"  # ignored by git


@pytest.fixture
def desktop(server: Server) -> DesktopClient:
    client = DesktopClient("127.0.0.1", server.port, speed=20).start()
    wait_until(lambda: client.connected and bool(client.panel) and bool(client.operations))
    yield client
    client.stop()


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_until_watched(client: DesktopClient, server: Server, step: str) -> None:
    wait_until(lambda: step in server.control.lines())
    asked = len(client.progress)
    wait_until(lambda: len(client.progress) >= asked + 2)  # one question may have been on its way before


def test_a_whole_session_at_the_client_s_own_pace(server: Server) -> None:
    """Each of three steps lasts until the client has asked for its progress: it is the client that has a clock."""
    client = DesktopClient("127.0.0.1", server.port).start()
    try:
        wait_until(lambda: client.connected and client.panel and client.operations)
        server.control.set(stage="structure", step=2, fault="wait")
        generating = in_background(lambda: client.generate([PICTURE]))
        wait_until_watched(client, server, "structure 2")
        server.control.set(stage="latent", step=2, fault="wait")
        wait_until_watched(client, server, "latent 2")
        server.control.set(stage="texture", step=1, fault="wait")
        wait_until_watched(client, server, "texture 1")
        server.control.set()
        generating.join()
    finally:
        client.stop()
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_text("\n".join(client.log) + "\n", encoding="utf-8")
    assert client.shown == "imported", client.log
    pings = [call for call in client.calls if call.path == "/ping"]
    assert len(pings) >= 6 and all(call.status == 200 for call in pings)
    assert max(call.seconds for call in pings) < TIMEOUTS["lost"], "the light would turn red"
    assert client.panel_builds == 1
    assert client.operations == ["make_meshes_and_tex", "retexture", "retexture_via_masks"]
    # The last question may be answered between the end of the job and the client's notice of it.
    ended = [state for state in client.states if state != "PROCESSING"]
    assert client.states[-len(ended) :] == ended == ["COMPLETE"] or not ended
    under_way = client.progress[: len(client.progress) - len(ended)]
    assert under_way == sorted(under_way) and len(set(under_way)) >= 3
    assert 0 < under_way[-1] < 1
    assert any(line.endswith("green") for line in client.log) and not any("red" in line for line in client.log)


def test_what_the_panel_states_is_what_is_generated(desktop: DesktopClient, server: Server) -> None:
    assert desktop.generate([PICTURE]) == "imported"
    [generated] = [line for line in server.control.lines() if line.startswith("generate")]
    [saved] = [line for line in server.control.lines() if line.startswith("save")]
    assert "pictures 1" in generated
    assert saved.endswith("texture 1024")
    first = server.control.lines()
    assert desktop.generate([PICTURE, png((0, 0, 200)), PICTURE], texture_size=0.0, seed=7) == "imported"
    later = server.control.lines()[len(first) :]
    assert later[0].startswith("generate seed 7 pictures 3")
    assert "save seed 7 texture 512" in later
    seeds = {line.split()[2] for line in server.control.lines() if line.startswith("generate")}
    assert len(seeds) == 2 and "-1" not in seeds  # -1 draws one


def status_of(desktop: DesktopClient) -> str:
    code, content = desktop.call("GET", "/status")
    assert code == 200
    return str(json.loads(content)["status"])


def test_an_end_can_be_read_after_the_post_and_is_gone_once_it_was_heard(desktop: DesktopClient) -> None:
    code, _ = desktop.call("POST", "/generate", desktop.values([PICTURE]))
    assert code == 200
    assert [status_of(desktop) for _ in range(2)] == ["COMPLETE", "COMPLETE"]
    assert desktop.call("GET", "/download/model")[0] == 200
    assert status_of(desktop) == "PROCESSING"
    assert desktop.call("GET", "/download/model")[0] == 200  # it can be fetched again
    desktop.call("POST", "/generate", desktop.values([]))
    assert [status_of(desktop) for _ in range(2)] == ["FAILED", "PROCESSING"]


def test_a_stale_end_is_never_read_as_the_end_of_this_generation(desktop: DesktopClient, server: Server) -> None:
    desktop.call("POST", "/generate", desktop.values([PICTURE]))  # nobody fetches its model
    server.control.set(stage="structure", step=1, fault="wait")
    waiting = in_background(lambda: desktop.call("POST", "/generate", desktop.values([PICTURE]) | {"seed": 2}))
    wait_until(lambda: status_of(desktop) == "PROCESSING")
    assert {status_of(desktop) for _ in range(10)} == {"PROCESSING"}
    server.control.set()
    waiting.join()
    assert status_of(desktop) == "COMPLETE"


def test_before_the_first_generation_nothing_looks_finished(desktop: DesktopClient) -> None:
    status, content = desktop.call("GET", "/status")
    assert status == 200 and b"FAILED" not in content and b"COMPLETE" not in content and b'"busy":false' in content
    assert desktop.call("GET", "/download/model")[0] == 404


def test_cancel_and_generate_again(desktop: DesktopClient, server: Server) -> None:
    server.control.set(stage="structure", step=2, fault="wait")
    waiting = in_background(lambda: desktop.generate([PICTURE], seed=3))
    wait_until(lambda: "structure 2" in server.control.lines())
    desktop.press_cancel()
    assert "interrupt_requested" in desktop.log[-1]
    server.control.set()
    waiting.join()
    assert desktop.shown == "Generation failed: Generation cancelled by user"
    assert "structure 3" not in server.control.lines()
    assert desktop.generate([PICTURE], seed=4) == "imported"
    desktop.press_cancel()
    assert "no_generation_in_progress" in desktop.log[-1]


def test_a_dropped_post_does_not_cancel(desktop: DesktopClient, server: Server) -> None:
    server.control.set(stage="structure", step=1, fault="wait")
    values = desktop.values([PICTURE]) | {"seed": 5}
    assert desktop.call("POST", "/generate", values, timeout=0.5) == (0, b"")
    wait_until(lambda: "structure 1" in server.control.lines())
    server.control.set()
    wait_until(lambda: status_of(desktop) == "COMPLETE")
    assert desktop.call("GET", "/download/model")[1] == b"glTF" + b" 5" * 100


def test_a_second_post_waits_its_turn_and_then_is_told_busy(desktop: DesktopClient, server: Server) -> None:
    other = DesktopClient("127.0.0.1", server.port, panel=desktop.panel)
    server.control.set(stage="structure", step=1, fault="wait")
    first = in_background(lambda: desktop.generate([PICTURE], seed=1))
    wait_until(lambda: "structure 1" in server.control.lines())
    started = time.monotonic()
    assert other.generate([PICTURE], seed=2) == "Generation failed: Server is busy with another generation"
    assert time.monotonic() - started > 1.5 and not desktop.shown  # the server of this test waits 2 s
    second = in_background(lambda: other.generate([PICTURE], seed=2))
    time.sleep(0.3)
    server.control.set()
    first.join()
    second.join()
    assert (desktop.shown, other.shown) == ("imported", "imported")
    assert other.model == b"glTF" + b" 2" * 100


def test_a_turn_behind_the_jobs_of_others_is_given_up_too(desktop: DesktopClient, server: Server) -> None:
    from trellis.app.request import GenerationRequest

    server.control.set(stage="structure", step=1, fault="wait")
    others = server.engine.submit(GenerationRequest(formats=("glb",)), [STORED])
    assert desktop.generate([PICTURE]) == "Generation failed: Server is busy with another generation"
    assert not server.engine.view(others).state.final  # /interrupt and giving up touch no job of others
    desktop.press_cancel()
    assert not server.engine.view(others).state.final
    server.control.set()
    assert desktop.generate([PICTURE]) == "imported"


def test_a_model_that_takes_long_to_open_is_waited_for(desktop: DesktopClient, server: Server) -> None:
    """Longer than a turn is waited for (2 s here): whose job is next is not told that the server is busy."""
    opened = threading.Event()
    server.engine.executor.submit(lambda _: time.sleep(3.0), lambda _: opened.set())
    assert desktop.generate([PICTURE]) == "imported"
    assert opened.is_set() and any("The model is being opened" in line for line in desktop.log)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"single_multi_img_input": [""]}, "single_multi_img_input must hold between 1 and 64"),
        ({"single_multi_img_input": ["@@@="]}, "single_multi_img_input[0] is not base64"),
        ({"single_multi_img_input": ["bm90IGEgcGljdHVyZQ=="]}, "single_multi_img_input[0] cannot be read as a picture"),
        ({"single_multi_img_input": {"0": "x"}}, "single_multi_img_input must be"),
        ({"single_multi_img_input": [7]}, "single_multi_img_input[0] must be a base64 text"),
        ({"ss_strength": 11.0}, "ss_strength must be from 0 to 10"),
        ({"ss_steps": "many"}, "ss_steps must be a number"),
        ({"slat_steps": 0}, "slat_steps must be from 1 to 50"),
        ({"mesh_simplify": -1}, "mesh_simplify must be from 0 to 100"),
        ({"texture_size": 1e30}, "texture_size must be from"),
        ({"seed": 2**31}, "seed must be from"),
        ({"multi_image": 9}, "multi_image must be one of"),
        ({"generate_what": "upscale"}, "generate_what must be one of make_meshes_and_tex, retexture, "),
        ({"generate_what": "retexture"}, "mesh_3d must be the base64 text of a mesh file"),
    ],
)
def test_a_problem_is_shown_to_the_user(desktop: DesktopClient, changes: dict[str, object], message: str) -> None:
    assert desktop.generate([PICTURE], **changes).startswith(f"Generation failed: {message}")


def test_a_failing_generation_is_shown_and_the_next_one_works(desktop: DesktopClient, server: Server) -> None:
    server.control.set(stage="latent", step=2, fault="input")
    assert desktop.generate([PICTURE]) == "Generation failed: The picture shows nothing."
    server.control.set()
    assert desktop.generate([PICTURE]) == "imported"


@pytest.mark.parametrize("given", ["7,5", "7.5", 7.5])
def test_decimals_may_have_a_comma(desktop: DesktopClient, given: object) -> None:
    assert desktop.generate([PICTURE], ss_strength=given, mesh_simplify="95,0") == "imported"


def test_elements_without_a_name_and_nulls_are_passed_over(desktop: DesktopClient) -> None:
    assert desktop.generate([PICTURE, PICTURE], **{"": None, "my_button": None, "seed": None}) == "imported"


def test_the_panel_is_made_of_the_options_table() -> None:
    elements = {element.properties.get("code_name", ""): element for element in parse_panel(panel_text())}
    assert set(elements) >= {"single_multi_img_input", "ss_strength", "ss_steps", "slat_strength", "slat_steps"}
    assert (
        elements["single_multi_img_input"].properties["content_min_num_needed"] == "make_meshes_and_tex:1, retexture:1"
    )
    for name in ("texture_size", "multi_image"):
        listed = elements[name].properties["options"].strip("[]").split(",")
        assert listed == [str(value) for value in GenerationRequest.options()[name].values]
    for element in elements.values():
        for key in ("min", "max", "default"):
            value = element.properties.get(key, "0")
            assert value.lstrip("-").isdigit(), f"{key}={value}: decimals are read by the rules of the user's language"
        if "min" in element.properties:
            low, high, given = (int(element.properties[key]) for key in ("min", "max", "default"))
            assert low <= given <= high
    assert panel_text() == panel_text() and panel_text().isascii()

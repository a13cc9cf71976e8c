"""Retexturing as the desktop client asks for it: a mesh with every request, a picture a UDIM tile as the answer."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.api.conftest import Server, png
from tests.api.desktop_client import DesktopClient
from tests.api.test_desktop_client import PICTURE, desktop, in_background, status_of
from tests.unit.app.waiting import wait_until
from trellis.app import mesh_reader
from trellis.errors import Cancelled

__all__ = ["desktop"]  # a fixture
pytestmark = pytest.mark.usefixtures("meshes_read_here")
MESH = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n"
RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (10, 200, 10)


def pixels(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGBA"))


def mask(size: int) -> bytes:
    """Painted in its left half, faintly in the next quarter."""
    alpha = np.zeros((size, size, 4), np.uint8)
    alpha[:, : size // 2, 3], alpha[:, size // 2 : 3 * size // 4, 3] = 255, 120
    target = io.BytesIO()
    Image.fromarray(alpha).save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize("extension", [".obj", "obj", ".OBJ"])
def test_a_mesh_gets_a_picture_a_tile(desktop: DesktopClient, server: Server, extension: str) -> None:
    assert desktop.call("GET", "/download/texture")[0] == 404
    assert desktop.retexture([PICTURE, PICTURE], MESH, extension, slat_steps=7) == "imported"
    assert f"retexture .obj of {len(MESH)} bytes, tiles, pictures 2, steps 7" in server.control.lines()
    assert [tuple(pixels(data)[0, 0]) for data in desktop.textures] == [(*RED, 255), (*BLUE, 255)]
    assert status_of(desktop) == "PROCESSING"  # its end was heard
    assert desktop.call("GET", "/download/texture")[0] == 200  # it can be fetched again
    assert desktop.call("GET", "/download/model")[0] == 404  # it made none


def test_a_mesh_that_the_end_of_the_program_gives_up_is_told(
    desktop: DesktopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "The program ended before the mesh was read: send it again."

    def give_up(*_: object) -> None:
        raise Cancelled(said)

    monkeypatch.setattr(mesh_reader, "_tried", give_up)
    assert desktop.retexture([PICTURE], MESH, ".obj") == f"Generation failed: {said}"
    assert status_of(desktop) == "FAILED"


def test_only_what_is_painted_changes(desktop: DesktopClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first tile is larger than pictures of objects are read, the second has no mask; a child lays them over."""
    monkeypatch.delattr(Image, "composite")
    old = [png(GREEN, (2048, 2048)), png(GREEN, (64, 64))]
    shown = desktop.retexture(
        [PICTURE], MESH, ".obj", via_masks=True, albedo_textures_udims=old, painted_mask_udims=[mask(256)]
    )
    assert shown == "imported"
    first, second = map(pixels, desktop.textures)
    assert first.shape == (2048, 2048, 4)
    assert (first[:, :1024] == (*RED, 255)).all() and (first[:, 1024:] == (*GREEN, 255)).all()
    assert (second == (*BLUE, 255)).all()


def test_masks_without_textures_leave_the_rest_clear(desktop: DesktopClient) -> None:
    assert desktop.retexture([PICTURE], MESH, ".obj", painted_mask_udims=[mask(64), mask(64)]) == "imported"
    first, second = map(pixels, desktop.textures)
    assert (first[:, :32] == (*RED, 255)).all() and not first[:, 32:, 3].any()
    assert (second[:, :32] == (*BLUE, 255)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mesh_extension": ".fbx"}, "Import the model as GLB or OBJ, then retexture."),
        ({"mesh_extension": "fbx"}, "Import the model as GLB or OBJ, then retexture."),
        ({"mesh_extension": ".blend"}, "mesh_name must end in one of .glb, .gltf, .obj"),
        ({"mesh_extension": 7}, "mesh_extension must be a text"),
        ({"mesh_3d": "@@@"}, "mesh is no base64"),
        ({"mesh_3d": ""}, "mesh_3d must be the base64 text of a mesh file"),
        ({"painted_mask_udims": "x"}, "painted_mask_udims must be a list of base64 pictures"),
        ({"albedo_textures_udims": [b"no picture"]}, "albedo_textures_udims[0] cannot be read as a picture"),
        ({"slat_steps": 0}, "slat_steps must be from 1 to 50"),
    ],
)
def test_a_problem_is_shown_to_the_user(desktop: DesktopClient, changes: dict[str, object], message: str) -> None:
    extension = changes.pop("mesh_extension", ".obj")
    assert desktop.retexture([PICTURE], MESH, extension, **changes).startswith(f"Generation failed: {message}")


def test_cancel_and_again(desktop: DesktopClient, server: Server) -> None:
    server.control.set(stage="latent", step=1, fault="wait")
    shown: list[str] = []
    waiting = in_background(lambda: shown.append(desktop.retexture([PICTURE], MESH, ".obj")))
    wait_until(lambda: "latent 1" in server.control.lines())
    desktop.press_cancel()
    server.control.set()
    waiting.join()
    assert shown == ["Generation failed: Generation cancelled by user"]
    assert desktop.call("GET", "/download/texture")[0] == 404
    assert desktop.retexture([PICTURE], MESH, ".obj") == "imported"

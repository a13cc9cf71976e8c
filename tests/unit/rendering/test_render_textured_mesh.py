import math

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import orbit_cameras
from trellis.rendering.textured_mesh import render_textured_mesh

BACKENDS = pytest.mark.parametrize("backend", ["reference", "warp"])
FRONT = orbit_cameras([math.pi], [0.0])


def sheet(texture: torch.Tensor, **options: object) -> dict[str, object]:
    """A square that faces the front and shows the whole texture upright; it fills the middle of the image."""
    vertices = torch.tensor([[-0.3, 0, 0.3], [0.3, 0, 0.3], [0.3, 0, -0.3], [-0.3, 0, -0.3]])
    uvs = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]], dtype=torch.int32)
    values = {"vertices": vertices, "faces": faces, "uvs": uvs, "texture": texture, "cameras": FRONT, "size": 64}
    return values | {"shading": "none"} | options


def quarters() -> torch.Tensor:
    """Red and green above, blue and white below, without a gradient except between the quarters."""
    colors = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]])
    return colors.repeat_interleave(16, 0).repeat_interleave(16, 1)


@BACKENDS
def test_the_texture_stands_upright_and_is_not_mirrored(backend: str) -> None:
    images = render_textured_mesh(**sheet(quarters(), background="black", supersampling=8, backend=backend))
    picture = images.color[0]
    for (row, column), expected in {
        (24, 24): (1, 0, 0), (24, 40): (0, 1, 0), (40, 24): (0, 0, 1), (40, 40): (1, 1, 1), (2, 2): (0, 0, 0)
    }.items():  # fmt: skip
        assert torch.allclose(picture[:, row, column], torch.tensor(expected).float(), atol=1e-5), (row, column)
    side = 0.6 / 2 * 0.5 / math.tan(math.radians(20)) * 64
    assert images.alpha[0].sum().item() == pytest.approx(side**2, rel=0.01)


@pytest.mark.parametrize("shading", ["none", "studio"])
def test_back_ends_agree(shading: str) -> None:
    texture = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0))
    cameras = orbit_cameras([math.pi, 2.5], [0.0, 0.6])
    images = [
        render_textured_mesh(**sheet(texture, cameras=cameras, shading=shading, backend=backend))
        for backend in ("reference", "warp")
    ]
    assert images[0].color.std() > 0.05 and len(images[0].color) == 2
    assert torch.allclose(images[0].color, images[1].color, atol=1e-4)
    assert torch.allclose(images[0].alpha, images[1].alpha, atol=1e-5)


@BACKENDS
def test_lookup_is_bilinear_about_texel_centres(backend: str) -> None:
    ramp = torch.tensor([0.0, 1.0])[None, :, None].expand(2, 2, 3)
    picture = render_textured_mesh(**sheet(ramp, size=200, supersampling=1, backend=backend)).color[0, 0, 100]
    # The sheet reaches from x = -0.3 to 0.3; texel centres lie at a quarter and three quarters of it.
    x = (torch.arange(200) + 0.5) / 200 * 2 - 1
    u = x * 2 * math.tan(math.radians(20)) / 0.6 + 0.5
    inside = (u > 0) & (u < 1)
    assert torch.allclose(picture[inside], (2 * u[inside] - 0.5).clamp(0, 1), atol=1e-4)


def test_shading_follows_the_normals() -> None:
    white = torch.ones(4, 4, 3)
    turned = orbit_cameras([math.pi + math.radians(60)], [0.0])
    lit = render_textured_mesh(**sheet(white, shading="headlight", background="black"))
    oblique = render_textured_mesh(**sheet(white, shading="headlight", background="black", cameras=turned))
    assert lit.color[0, 0, 32, 32] == pytest.approx(1.0, abs=1e-5)
    assert oblique.color[0, 0, 32, 32] == pytest.approx(0.35 + 0.65 * 0.5, abs=1e-4)
    # Given normals win over those of the faces; here they lean as far as the camera did.
    lean = torch.tensor([math.sin(math.radians(60)), -math.cos(math.radians(60)), 0.0]).expand(4, 3)
    leaning = render_textured_mesh(**sheet(white, shading="headlight", background="black", normals=lean))
    assert leaning.color[0, 0, 32, 32] == pytest.approx(0.35 + 0.65 * 0.5, abs=1e-4)
    studio = render_textured_mesh(**sheet(white, shading="studio")).color[0, 0, 32, 32]
    assert 0.6 < studio <= 1


def test_without_normals_every_face_is_lit_by_its_own() -> None:
    corners = [[-0.3, 0, 0.3], [0.3, 0, -0.3], [0.3, 0, 0.3], [-0.3, 0, 0.3], [-0.3, 0.8, -0.3], [0.3, 0, -0.3]]
    folded = sheet(torch.ones(4, 4, 3), shading="headlight", background="black", supersampling=1)
    folded["vertices"] = vertices = torch.tensor(corners)
    folded["faces"] = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32)
    folded["uvs"] = torch.full((6, 2), 0.5)
    a, b, c = vertices.view(2, 3, 3).unbind(1)
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    flat = render_textured_mesh(**folded).color[0, 0]
    given = render_textured_mesh(**folded, normals=normals.repeat_interleave(3, 0)).color[0, 0]
    assert torch.allclose(flat, given, atol=1e-5)
    # The flat half and the tilted one; nothing between them.
    assert {round(float(value), 3) for value in flat.unique()} == {
        0.0, *(round(0.35 + 0.65 * float(normal[1].abs()), 3) for normal in normals)
    }  # fmt: skip


@BACKENDS
def test_a_normal_map_bends_the_light(backend: str) -> None:
    """Left half leans to the texture's right, the right half upwards in the texture; u runs along +x, up is +z."""
    upright = {
        "normals": torch.tensor([0.0, -1, 0]).expand(4, 3),
        "tangents": torch.tensor([1.0, 0, 0, 1]).expand(4, 4),
        "shading": "studio",
        "backend": backend,
    }
    white, lean = torch.ones(2, 2, 3), math.sin(math.radians(40))
    normal_map = torch.tensor([[lean, 0, math.cos(math.radians(40))], [0, lean, math.cos(math.radians(40))]])
    normal_map = (0.5 + 0.5 * normal_map).repeat_interleave(16, 0)[None].expand(32, 32, 3)
    bent = render_textured_mesh(**sheet(white, normal_map=normal_map, **upright)).color[0, 0, 32]
    for column, direction in (
        (24, [lean, -math.cos(math.radians(40)), 0]),
        (40, [0, -math.cos(math.radians(40)), lean]),
    ):
        turned = {**upright, "normals": torch.tensor(direction).expand(4, 3)}
        expected = render_textured_mesh(**sheet(white, **turned)).color[0, 0, 32, column]
        assert bent[column] == pytest.approx(float(expected), abs=1e-3)
    flat = torch.tensor([0.5, 0.5, 1.0]).expand(2, 2, 3)
    same = [render_textured_mesh(**sheet(white, **upright, **extra)).color for extra in ({}, {"normal_map": flat})]
    assert torch.allclose(same[0], same[1], atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"normal_map": torch.ones(2, 2, 3)}, "tangents"),
        ({"shading": "sun"}, "none, headlight, studio"),
        ({"uvs": torch.zeros(3, 2)}, r"\[4, 2\]"),
        ({"texture": torch.zeros(4, 4, 3, dtype=torch.uint8)}, "texture"),
        ({"normals": torch.zeros(1, 3)}, "Normals"),
        ({"supersampling": 9}, "supersampling"),
    ],
)
def test_wrong_input_is_named(wrong: dict, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        render_textured_mesh(**{**sheet(quarters()), **wrong})

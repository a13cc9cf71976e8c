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
    return values | options


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


def test_back_ends_agree() -> None:
    texture = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0))
    cameras = orbit_cameras([math.pi, 2.5], [0.0, 0.6])
    images = [
        render_textured_mesh(**sheet(texture, cameras=cameras, backend=backend)) for backend in ("reference", "warp")
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


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"uvs": torch.zeros(3, 2)}, r"\[4, 2\]"),
        ({"texture": torch.zeros(4, 4, 3, dtype=torch.uint8)}, "texture"),
        ({"supersampling": 9}, "supersampling"),
    ],
)
def test_wrong_input_is_named(wrong: dict, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        render_textured_mesh(**{**sheet(quarters()), **wrong})

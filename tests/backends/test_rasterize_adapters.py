"""Adapters of optional renderers, against fake modules that take and give what the packages' documentation says."""

import importlib.machinery
import sys
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.backends.test_rasterize_triangles import SIZE, random_triangles
from tests.parity import renders
from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.geometry.cameras import Cameras
from trellis.ops.rasterize import (
    ADAPTERS,
    backends,
    interpolate_attributes,
    rasterize_triangles,
    reference,
    splat_gaussians,
)
from trellis.ops.rasterize.scenes import NEAR, SH_C0, Gaussians
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import render_mesh
from trellis.rendering.radiance_field import render_radiance_field

GOLDENS = load_file(renders.__file__.replace("renders.py", "data/render_goldens.safetensors"))


def fake(monkeypatch: pytest.MonkeyPatch, *names: str) -> ModuleType:
    """Modules of these names, as installed as `find_spec` can tell; the last one. Their GPU is taken for granted."""
    module = ModuleType(names[-1])
    for name in names:
        module = ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(backends, "is_gpu", lambda device: True)
    return module


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_what_is_not_installed_is_refused_with_remedy_and_licence(name: str) -> None:
    draw = {
        "gsplat": lambda: render_gaussians(renders.gaussian_cloud("a"), renders.camera(0), size=16, backend=name),
    }.get(name, lambda: render_mesh(renders.tetrahedron(), renders.camera(0), size=16, backend=name))
    licence = {"gsplat": "Apache-2.0", "kaolin": "Apache-2.0", "nvdiffrast": "non-commercial"}[name]
    with pytest.raises(MissingDependencyError, match=f"{name} is not installed: install it.*{licence}"):
        draw()


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_a_processor_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, name, module)
    among = backends.GAUSSIAN_BACKENDS if name == "gsplat" else backends.TRIANGLE_BACKENDS
    with pytest.raises(MissingDependencyError, match="NVIDIA GPUs only"):
        backends.choose_backend(name, torch.zeros(1), among=among)


def test_a_kind_of_picture_that_a_package_does_not_draw_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="choose one of auto, reference, warp, gsplat"):
        render_gaussians(renders.gaussian_cloud("a"), renders.camera(0), size=16, backend="kaolin")
    with pytest.raises(InvalidInputError, match="choose one of auto, reference, warp, nvdiffrast, kaolin"):
        render_mesh(renders.tetrahedron(), renders.camera(0), size=16, backend="gsplat")
    with pytest.raises(InvalidInputError, match="choose one of auto, reference, warp"):
        render_radiance_field(renders.radiance_field(), renders.camera(0), size=16, backend="kaolin")


def test_a_package_that_does_not_load_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.machinery.ModuleSpec("nvdiffrast", None)
    package = ModuleType("nvdiffrast")
    package.__spec__ = spec
    monkeypatch.setitem(sys.modules, "nvdiffrast", package)
    monkeypatch.setattr(backends, "is_gpu", lambda device: True)
    with pytest.raises(MissingDependencyError, match="installed but does not load"):
        rasterize_triangles(*random_triangles(0), size=SIZE, backend="nvdiffrast")


def test_gsplat_is_asked_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake that draws by the reference what gsplat's documentation says about its arguments gives the goldens."""
    module = fake(monkeypatch, "gsplat")
    asked: list[dict] = []

    def rasterization(
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        viewmats: Tensor,
        Ks: Tensor,
        width: int,
        height: int,
        near_plane: float = 0.01,
        eps2d: float = 0.3,
        rasterize_mode: str = "classic",
    ) -> tuple[Tensor, Tensor, dict]:
        asked.append({"near_plane": near_plane, "rasterize_mode": rasterize_mode, "width": width, "height": height})
        n, views = len(means), len(viewmats)
        assert quats.shape == (n, 4) and scales.shape == (n, 3) and opacities.shape == (n,) and colors.shape == (n, 3)
        assert viewmats.shape == (views, 4, 4) and Ks.shape == (views, 3, 3)
        # Ks is in pixels, a pixel's centre at its number plus a half; images are channels-last.
        cloud = Gaussians(means, (colors - 0.5) / SH_C0, scales, quats, opacities[:, None], eps2d)
        cameras = Cameras(viewmats, Ks / torch.tensor([width, height, 1.0])[:, None])
        color, left = splat_gaussians(cloud, cameras, size=width, backend="reference")
        return color.permute(0, 2, 3, 1), 1 - left[..., None], {}

    module.rasterization = rasterization  # type: ignore[attr-defined]
    for key in ("gs_a_0_black", "gs_a_1_black", "gs_a_0_white"):
        image = renders.rebuild_image(key, 64, backend="gsplat")
        assert (image - GOLDENS[key]).abs().max() < 1e-3
    expected = {"near_plane": NEAR, "rasterize_mode": "antialiased", "width": 64, "height": 64}
    assert asked == [expected] * 3


def nvdiffrast_rasterize(
    context: object, pos: Tensor, tri: Tensor, resolution: list[int], ranges: None = None, grad_db: bool = True
) -> tuple[Tensor, Tensor]:
    """The documented contract by the reference: clip space in, rows from the bottom up, (u, v, z/w, id + 1) out."""
    assert isinstance(context, FakeContext)
    assert pos.ndim == 3 and pos.shape[2] == 4 and tri.dtype == torch.int32 and tri.is_contiguous()
    height, width = resolution
    x, y, z, w = pos[0].unbind(1)
    assert ((z / w)[tri.long()].abs() <= 1).all(), "clipped by the near or far plane"
    # The row of y = -1 comes first.
    plane = torch.stack([(x / w + 1) * width / 2, (y / w + 1) * height / 2], dim=1)
    flat = bool((w == 1).all())
    points = torch.cat([plane, (z if flat else w)[:, None]], dim=1)
    near = -float("inf") if flat else 0.0
    found, weights, _ = reference.rasterize_triangles(points, tri, height, width, perspective=not flat, near=near)
    # The last channel is a float, 0 where nothing is.
    drawn = torch.stack([weights[..., 0], weights[..., 1], torch.zeros_like(weights[..., 0]), found + 1.0], dim=-1)
    return drawn[None], torch.zeros(0)


class FakeContext:
    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device


def kaolin_rasterize(
    height: int, width: int, face_vertices_z: Tensor, face_vertices_image: Tensor, face_features: Tensor
) -> tuple[Tensor, Tensor]:
    """kaolin's documented contract by the reference: y upwards in [-1, 1], the camera looking along -z, face -1."""
    count = face_vertices_z.shape[1]
    assert face_vertices_z.shape == (1, count, 3) and face_vertices_image.shape == (1, count, 3, 2)
    assert face_features.shape[:3] == (1, count, 3) and (face_vertices_z < 0).all()
    plane = face_vertices_image[0].flatten(0, 1)
    x, y = (plane[:, 0] + 1) * width / 2, (1 - plane[:, 1]) * height / 2
    points = torch.stack([x, y, -face_vertices_z[0].flatten()], dim=1)
    faces = torch.arange(3 * count).view(count, 3)
    found, _, _ = reference.rasterize_triangles(points, faces, height, width, perspective=True, near=0.0)
    return face_features.new_zeros(1, height, width, face_features.shape[-1]), found[None].long()


@pytest.fixture(params=["nvdiffrast", "kaolin"])
def triangle_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "nvdiffrast":
        module = fake(monkeypatch, "nvdiffrast", "nvdiffrast.torch")
        module.rasterize = nvdiffrast_rasterize  # type: ignore[attr-defined]
        module.RasterizeCudaContext = FakeContext  # type: ignore[attr-defined]
    else:
        module = fake(monkeypatch, "kaolin", "kaolin.render", "kaolin.render.mesh")
        module.rasterize = kaolin_rasterize  # type: ignore[attr-defined]
    return str(request.param)


@pytest.mark.parametrize("perspective", [True, False])
def test_triangle_packages_give_the_references_samples(triangle_backend: str, perspective: bool) -> None:
    points, faces = random_triangles(3, flat=not perspective)
    faces[7] = 0  # of no area
    if perspective:
        points[faces[0, 0]] = torch.nan
        points[faces[1, 0], 2] = -1.0
    first, second = (
        rasterize_triangles(points, faces, size=SIZE, perspective=perspective, backend=name)
        for name in ("reference", triangle_backend)
    )
    assert 0.3 < first.mask.float().mean() < 0.95
    same = first.face_id == second.face_id
    assert same.float().mean() > 0.99 or not perspective  # all in one plane: any face may win
    torch.testing.assert_close(first.barycentric[same], second.barycentric[same], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(first.depth[same], second.depth[same], atol=1e-5, rtol=1e-4)
    assert torch.equal(first.mask, second.mask) or perspective
    values = interpolate_attributes(second, faces, torch.nan_to_num(points), backend=triangle_backend)
    assert values.shape == (*SIZE, 3) and values[second.mask].std() > 0.1
    nothing = rasterize_triangles(points, faces[:0], size=SIZE, backend=triangle_backend)
    assert not nothing.mask.any() and nothing.barycentric.shape == (*SIZE, 3) and (nothing.depth == 0).all()


def test_triangle_packages_give_the_goldens(triangle_backend: str) -> None:
    for key in (key for key in sorted(GOLDENS) if key.startswith("mesh_")):
        checks = list(renders.compare_render(key, GOLDENS, backend=triangle_backend))
        assert checks and [check for check in checks if not check.ok] == []


def test_triangle_packages_have_gradients(triangle_backend: str) -> None:
    points, faces = random_triangles(6)
    gradients = []
    for name in ("reference", triangle_backend):
        moving = points.clone().requires_grad_()
        rasterize_triangles(moving, faces, size=SIZE, backend=name).depth.sum().backward()
        gradients.append(moving.grad)
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    if triangle_backend == "kaolin":  # the fake of the other is not differentiable through its clip space
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)

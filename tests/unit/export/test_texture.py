"""Unwrapping and baking: charts do not overlap, painted colours come back, hidden surfaces keep their own colour."""

import subprocess

import numpy as np
import pytest
import torch

from tests.unit.export.shapes import joined, painted, sphere, textured_mesh
from trellis.errors import Cancelled, InvalidInputError
from trellis.export.bake import as_bytes, dilated, mesh_colors, surface_texels
from trellis.export.chain import ExportChain, FileSources
from trellis.export.native import NativeCrashError, run_native
from trellis.export.options import FileOptions
from trellis.export.projection import ViewOptions, gaussian_colors
from trellis.export.simplify import simplify
from trellis.export.surface import Surface
from trellis.export.unwrap import unwrap
from trellis.ops.rasterize.scenes import SH_C0
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.representations import GaussianCloud, Mesh, TexturedMesh

RADIUS = 0.4


def on_sphere(points: torch.Tensor) -> torch.Tensor:
    return RADIUS * torch.nn.functional.normalize(points, dim=1)


def shell_of_gaussians(mesh: Mesh, colors: torch.Tensor) -> GaussianCloud:
    """A flat, opaque Gaussian on every vertex: discs that tile the surface."""
    normals = torch.nn.functional.normalize(mesh.vertices, dim=1)
    # Turns +z to the normal.
    x, y, z = normals.unbind(1)
    rotations = torch.nn.functional.normalize(torch.stack([1 + z, -y, x, torch.zeros_like(x)], 1) + 1e-6, dim=1)
    scales = torch.tensor([0.012, 0.012, 0.0009]).repeat(len(normals), 1)
    opacities = torch.full((len(normals), 1), 0.98)
    return GaussianCloud(mesh.vertices, (colors - 0.5) / SH_C0, scales, rotations, opacities)


@pytest.fixture
def by_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are made by the child program, as for users; see `tests/charts_here.py`."""
    monkeypatch.setattr("trellis.export.unwrap.run_native", run_native)


def test_unwrap_covers_the_square_without_overlap(by_child):
    surface = Surface.from_mesh(sphere(3))
    unwrapped = unwrap(surface, 512)
    assert unwrapped.uvs.min() >= 0 and unwrapped.uvs.max() <= 1
    assert np.array_equal(unwrapped.vertices, surface.vertices[unwrapped.vertex_map])
    assert np.array_equal(unwrapped.vertex_map[unwrapped.faces], surface.faces)
    corners = unwrapped.uvs[unwrapped.faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    assert (np.abs(area) > 0).all()
    assert unwrapped.utilisation == pytest.approx(0.5 * np.abs(area).sum())
    assert 0.3 < unwrapped.utilisation < 1
    # Texels covered once each: the area of the union equals the sum of the areas.
    assert len(surface_texels(unwrapped, 512)) / 512**2 == pytest.approx(unwrapped.utilisation, rel=0.02)
    assert unwrapped.charts >= 2


def test_unwrap_is_deterministic():
    surface = Surface.from_mesh(sphere(3))
    first, second = unwrap(surface, 512), unwrap(surface, 512)
    assert np.array_equal(first.uvs, second.uvs) and np.array_equal(first.faces, second.faces)


def test_unwrap_is_killed_on_cancel(by_child, monkeypatch):
    bumpy = sphere(6)  # takes seconds
    noise = torch.randn(bumpy.vertices.shape, generator=torch.Generator().manual_seed(0))
    surface = Surface.from_mesh(Mesh(bumpy.vertices + 5e-4 * noise, bumpy.faces))
    progress = Progress()
    children = []

    class Cancelling(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            children.append(self)
            progress.cancel.cancel()

    monkeypatch.setattr(subprocess, "Popen", Cancelling)
    with pytest.raises(Cancelled):
        unwrap(surface, 2048, progress=progress)
    [child] = children
    assert child.returncode is not None and child.returncode != 0  # it did not come to its end


def test_failing_child_is_reported():
    with pytest.raises(NativeCrashError, match="KeyError"):
        run_native("simplify", {"vertices": np.zeros((3, 3))}, progress=Progress())


def test_unwrap_tries_again_after_a_crash(monkeypatch):
    calls = []

    def crash_once(operation, arrays, *, progress):
        calls.append(arrays["vertices"])
        if len(calls) == 1:
            raise NativeCrashError("died")
        return run_native(operation, arrays, progress=progress)

    monkeypatch.setattr("trellis.export.unwrap.run_native", crash_once)
    surface = Surface.from_mesh(sphere(2))
    unwrapped = unwrap(surface, 256)
    assert len(calls) == 2 and 0 < np.abs(calls[0] - calls[1]).max() < 1e-3
    assert np.array_equal(unwrapped.vertices, surface.vertices[unwrapped.vertex_map])  # the true places


def test_painted_sphere_comes_back_from_mesh_colours():
    full = sphere(5, radius=RADIUS)
    light = simplify(full, faces=2000)
    texels = surface_texels(unwrap(Surface.from_mesh(light), 512), 512)
    assert len(texels) > 50_000
    image = as_bytes(dilated(texels, mesh_colors(texels, full))).reshape(-1, 3)
    expected = painted(on_sphere(texels.points)) * 255
    error = torch.from_numpy(image[texels.index.numpy()].astype(np.float32)) - expected
    assert error.abs().max() <= 3


def test_painted_sphere_comes_back_from_gaussians():
    full = sphere(5, radius=RADIUS)
    light = simplify(full, faces=2000)
    texels = surface_texels(unwrap(Surface.from_mesh(light), 256), 256)
    steps: list[StepInfo] = []
    colors = gaussian_colors(
        texels,
        shell_of_gaussians(full, painted(full.vertices)),
        light,
        options=ViewOptions(count=16, size=256),
        fallback=None,
        progress=Progress(steps.append),
    )
    error = (colors - painted(on_sphere(texels.points))).abs() * 255
    assert error.mean() < 2 and error.max() < 20
    assert [step.step for step in steps] == list(range(1, 17)) and {step.total for step in steps} == {16}


def test_surface_behind_another_keeps_its_colour():
    # A red ball in a blue shell: from outside the views see blue alone, which must not reach the ball.
    ball, shell = sphere(3, radius=0.2), sphere(4, radius=RADIUS)
    scene = joined(ball, shell)
    red, blue = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0])
    colors = torch.cat([red.expand(len(ball.vertices), 3), blue.expand(len(shell.vertices), 3)])
    outer = Mesh(shell.vertices, shell.faces)
    texels = surface_texels(unwrap(Surface.from_mesh(scene), 256), 256)
    green = torch.tensor([0, 1.0, 0])
    seen = gaussian_colors(
        texels,
        shell_of_gaussians(outer, colors[len(ball.vertices) :]),
        scene,
        options=ViewOptions(count=12, size=128),
        fallback=lambda unseen: green.expand(len(unseen), 3),
        progress=Progress(),
    )
    inner = texels.points.norm(dim=1) < 0.3
    assert inner.any() and torch.allclose(seen[inner], green)
    assert (seen[~inner][:, 2] > 0.9).float().mean() > 0.99


def test_thin_sheet_keeps_two_colours():
    sheet = sphere(4, radius=RADIUS)
    flat = Mesh(sheet.vertices * torch.tensor([1, 1, 0.002]), sheet.faces)
    top = (sheet.vertices[:, 2:] > 0).float().expand(-1, 3)
    colored = Mesh(flat.vertices, flat.faces, top.contiguous())
    light = simplify(colored, faces=400)
    texels = surface_texels(unwrap(Surface.from_mesh(light), 256), 256)
    away = texels.points[:, :2].norm(dim=1) < 0.9 * RADIUS
    colors = mesh_colors(texels, colored)[away]
    up = texels.normals[away][:, 2] > 0
    assert colors[up].mean() > 0.99 and colors[~up].mean() < 0.01


def test_gaps_take_the_nearest_colour():
    texels = surface_texels(unwrap(Surface.from_mesh(sphere(2)), 128), 128)
    image = as_bytes(dilated(texels, torch.tensor([0.2, 0.4, 0.6]).expand(len(texels), 3)))
    assert (image == np.array([51, 102, 153])).all()


def test_every_stage_can_be_cancelled():
    mesh = sphere(3)
    seen: list[tuple[str, int]] = []
    textured_mesh(mesh, progress=Progress(lambda info: seen.append((info.stage, info.step))))
    assert seen == [("export", 1), ("export", 2), ("export", 3), ("texture", 1), ("export", 4)]
    for stop in seen[:-1]:
        token, reached = CancelToken(), []

        def listen(info: StepInfo, token: CancelToken = token, stop: tuple = stop, reached: list = reached) -> None:
            reached.append((info.stage, info.step))
            if reached[-1] == stop:
                token.cancel()

        with pytest.raises(Cancelled):
            textured_mesh(mesh, progress=Progress(listen, token))
        assert reached[-1] == stop


def test_cancel_is_honoured_in_every_step_of_the_texture():
    ball = sphere(4, radius=RADIUS)
    cloud = shell_of_gaussians(ball, painted(ball.vertices))
    picture = np.full((64, 64, 4), 255, dtype=np.uint8)

    def make(progress: Progress) -> None:
        best = {"texture_mode": "best", "normal_map": True, "faces": 500}
        textured_mesh(ball, cloud, picture=picture, views=(4, 64), progress=progress, **best)

    steps: list[tuple[str, int]] = []
    make(Progress(lambda info: steps.append((info.stage, info.step))))
    assert {stage for stage, _ in steps} == {"export", "texture", "refine", "picture", "normal_map"}
    for stop in (("texture", 2), ("refine", 3), ("picture", 2), ("normal_map", 1)):
        token, reached = CancelToken(), []

        def listen(info: StepInfo, token: CancelToken = token, stop: tuple = stop, reached: list = reached) -> None:
            reached.append((info.stage, info.step))
            if reached[-1] == stop:
                token.cancel()

        with pytest.raises(Cancelled):
            make(Progress(listen, token))
        assert reached == steps[: steps.index(stop) + 1]


def test_views_and_texture_depend_on_the_seed_alone():
    ball = sphere(4, radius=RADIUS)
    cloud = shell_of_gaussians(ball, painted(ball.vertices))
    textures = [textured_mesh(ball, cloud, views=(6, 96), seed=seed, faces=500).texture for seed in (0, 0, 7)]
    assert np.array_equal(textures[0], textures[1]) and not np.array_equal(textures[0], textures[2])


def test_whole_export_from_gaussians():
    full = sphere(4, radius=RADIUS)
    result = textured_mesh(full, shell_of_gaussians(full, painted(full.vertices)), views=(8, 128), simplify=0.8)
    assert isinstance(result, TexturedMesh)
    assert abs(len(result.faces) - 1024) < 20 and result.texture.shape == (512, 512, 3)
    assert np.allclose(np.linalg.norm(result.normals, axis=1), 1, atol=1e-5)
    assert result.texture.std() > 20


@pytest.mark.parametrize("source", ["gaussians", "mesh"])
def test_the_texture_is_of_what_the_model_says(source: str):
    """Red Gaussians on a blue mesh; a mesh without colours has them of the Gaussians in any case."""
    full = sphere(4, radius=RADIUS)
    ball = Mesh(full.vertices, full.faces, torch.tensor([0.0, 0.0, 1.0]).expand(len(full.vertices), 3))
    cloud = shell_of_gaussians(ball, torch.tensor([1.0, 0.0, 0.0]).expand(len(full.vertices), 3))
    options = FileOptions(texture_size=512, faces=500, blend_picture=False)
    chain = ExportChain(FileSources(cloud, ball, texture_source=source), options, views=ViewOptions(8, 128))
    texture = chain.textured.texture.astype(int)
    assert (texture[..., 0] > texture[..., 2]).mean() == (1 if source == "gaussians" else 0)
    bare = FileSources(cloud, Mesh(full.vertices, full.faces), texture_source=source)
    texture = ExportChain(bare, options, views=ViewOptions(8, 128)).textured.texture.astype(int)
    assert (texture[..., 0] > texture[..., 2]).all()


def test_sources_of_colour_are_checked_before_any_work():
    steps: list[StepInfo] = []
    plain = Mesh(sphere(2).vertices, sphere(2).faces)
    with pytest.raises(InvalidInputError, match="no source of colour"):
        textured_mesh(plain, progress=Progress(steps.append))
    assert steps == []
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 3))
    with pytest.raises(InvalidInputError, match="empty"):
        textured_mesh(empty)

"""All files of an asset at once: complete or not at all, options checked first, and every format of one shape."""

import dataclasses
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from PIL import Image
from plyfile import PlyData

from tests.clouds import round_cloud
from tests.unit.export.shapes import painted, sphere
from trellis.atomic import write_bytes
from trellis.errors import Cancelled, InvalidInputError
from trellis.export import files, projection
from trellis.export import unwrap as unwrapping
from trellis.export.chain import FileSources
from trellis.export.files import write_files
from trellis.export.options import FORMATS, UNWRAP_METHODS, FileOptions
from trellis.export.projection import VIEWS
from trellis.progress import CancelToken, Progress
from trellis.rendering import turntable as rendering
from trellis.representations import Mesh, RadianceField

FAST = {"texture_size": 512, "simplify": 0.7, "preview_frames": 2, "preview_size": 256}


@pytest.fixture(scope="module")
def sources() -> FileSources:
    mesh = sphere(4)
    gaussians = round_cloud(mesh.vertices, painted(mesh.vertices), scale=0.012, opacity=0.95)
    field = RadianceField(
        positions=torch.rand(3, 3),
        trivec=torch.rand(3, 1, 3, 2),
        density=torch.rand(3, 1),
        features_dc=torch.rand(3, 1, 3),
        resolution=16,
    )
    return FileSources(gaussians, mesh, None, field, lambda path: write_bytes(path, b"a field" * 200))


def write(
    sources: FileSources, folder: Path, *, progress: Progress | None = None, **options: object
) -> dict[str, Path]:
    chosen = FileOptions(**{**FAST, **options})
    notes: list[str] = []
    written = write_files(
        sources, folder, name="ball", options=chosen, progress=progress or Progress(), on_note=notes.append
    )
    assert notes == []
    return written


@pytest.fixture(scope="module")
def written(sources: FileSources, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(sources, tmp_path_factory.mktemp("all"), formats=tuple(FORMATS), normal_map=True)


def test_a_draft_is_one_picture_and_no_file(sources: FileSources, tmp_path: Path) -> None:
    seen = []
    options = FileOptions(draft=True, formats=("glb", "ply"))
    files = write_files(
        sources, tmp_path, name="mug", options=options, progress=Progress(), on_note=print, on_draft=seen.append
    )
    assert files == {"draft": tmp_path / "mug_draft.png"} and list(tmp_path.iterdir()) == [files["draft"]]
    assert np.array_equal(np.asarray(Image.open(files["draft"])), seen[0]) and np.ptp(seen[0]) > 100
    with pytest.raises(InvalidInputError, match="no mesh"):  # its files could not be made later
        write_files(
            dataclasses.replace(sources, mesh=None),
            tmp_path,
            name="m",
            options=options,
            progress=Progress(),
            on_note=print,
        )


def test_one_rasterizer_draws_first_look_texture_and_preview(
    sources: FileSources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def spy(module: object, name: str) -> None:
        draw = getattr(module, name)

        def drawn(*things: object, backend: str, **options: object) -> object:
            asked.append((name, backend))
            return draw(*things, **options)

        monkeypatch.setattr(module, name, drawn)

    spy(projection, "render_gaussians")
    spy(rendering, "render_gaussians")
    spy(rendering, "render_mesh")
    spy(rendering, "render_textured_mesh")
    for rasterizer, of_gaussians, of_meshes in (("gsplat", "gsplat", "auto"), ("kaolin", "auto", "kaolin")):
        asked.clear()
        options = FileOptions(**FAST, formats=("glb", "mp4"), preview_content=("gaussians", "normals"))
        views = VIEWS["fast"]["cpu"][0]
        common = {"progress": Progress(), "on_note": lambda note: None, "on_draft": lambda picture: None}
        write_files(sources, tmp_path, name="ball", options=options, rasterizer=rasterizer, **common)
        assert asked.count(("render_gaussians", of_gaussians)) == 1 + views + 1
        # Normals of both first looks and of the preview; the second first look has the textured mesh beside them.
        assert asked.count(("render_mesh", of_meshes)) == 3 and asked.count(("render_textured_mesh", of_meshes)) == 1
        assert len(asked) == views + 6


@pytest.mark.parametrize("method", UNWRAP_METHODS)
def test_the_chosen_way_to_unwrap_is_taken(
    sources: FileSources, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    run = unwrapping.run_native

    def noted(operation: str, *things: object, **options: object) -> object:
        taken.append(operation)
        return run(operation, *things, **options)

    monkeypatch.setattr(unwrapping, "run_native", noted)
    path = write(sources, tmp_path, formats=("glb",), unwrap=method)["glb"]
    assert taken == [method] and len(trimesh.load(path, force="mesh").faces) > 1000


def test_every_format_is_there_and_nothing_else(written):
    assert set(written) == set(FORMATS) - {"maps"} | {"mtl", "base_color", "normal_map"}
    folder = written["glb"].parent
    assert sorted(folder.iterdir()) == sorted(set(written.values()))
    assert all(path.stat().st_size > 100 and path.name.startswith("ball") for path in written.values())
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in written.values()} == {0o644}


def test_all_meshes_are_the_same_ball(written):
    expected = 0.8 * np.ones(3)
    glb = trimesh.load(written["glb"], force="mesh")
    obj = trimesh.load(written["obj"], force="mesh")
    ply = trimesh.load(written["mesh_ply"])
    stl = trimesh.load(written["stl"])
    for shape in (glb, obj, ply):
        assert np.allclose(shape.extents, expected, atol=0.02)
        assert shape.volume == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.05)
    assert np.allclose(stl.extents, 100, atol=2) and stl.is_watertight and ply.is_watertight
    assert len(glb.faces) == len(obj.faces) == len(stl.faces) == len(ply.faces) <= 0.31 * 5120
    assert np.allclose(glb.bounds, obj.bounds, atol=1e-5)
    assert zipfile.ZipFile(written["usdz"]).testzip() is None


def test_maps_are_the_pictures_inside_the_glb(written):
    gltf = pygltflib.GLTF2().load(str(written["glb"]))
    assert gltf.materials[0].normalTexture is not None
    for index, kind in enumerate(("base_color", "normal_map")):
        view = gltf.bufferViews[gltf.images[index].bufferView]
        inside = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
        assert inside == written[kind].read_bytes()
        assert Image.open(written[kind]).size == (512, 512)


def test_gaussians_are_whole_in_both_formats(written, sources):
    assert len(PlyData.read(str(written["ply"]))["vertex"].data) == len(sources.gaussians)
    assert written["splat"].stat().st_size == 32 * len(sources.gaussians)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"formats": ("glb", "fbx")}, "glb, obj.*fbx"),
        ({"preview_content": ("depth",)}, "normals.*depth"),
        ({"faces": 100, "simplify": 0.5}, "exclude"),
        ({"preview_content": ()}, "one or more of gaussians"),
        ({"simplify": 1.0}, "simplify must be a number from 0 to 0.99"),
        ({"faces": 3}, "faces must be a whole number from 100"),
        ({"texture_size": 1000}, "512, 1024, 2048, 4096"),
        ({"texture_mode": "better"}, "fast, best.*better"),
        ({"texture_format": "jpg"}, "png, webp.*jpg"),
        ({"stl_size": -1}, "from 1 to 10000"),
        ({"real_size": 0}, "real_size must be a number from 0.001 to 1000"),
        ({"pivot": "top"}, "center, base.*top"),
        ({"preview_size": 100}, "256, 384"),
        ({"preview_frames": 0}, "preview_frames must be"),
    ],
)
def test_options_are_checked_before_any_work(options, said):
    with pytest.raises(InvalidInputError, match=said):
        FileOptions(**options)


def test_a_face_count_replaces_the_default_fraction():
    assert FileOptions(faces=300).fraction_removed is None and FileOptions().fraction_removed == 0.95


def test_values_are_refused_by_an_optimised_interpreter_too():
    code = "from trellis.export.options import FileOptions; FileOptions(texture_size=3)"
    ended = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "texture_size must be one of" in ended.stderr


def test_every_step_is_taken_once_for_all_formats(sources, tmp_path, monkeypatch):
    steps = {
        "trellis.export.clean.remove_faults": "clean",
        "trellis.export.simplify.collapse_edges": "simplify",
        "trellis.export.unwrap.run_native": "unwrap",
        "trellis.export.textured.surface_texels": "bake",
        "trellis.export.textured.blended_texture": "blend",
    }
    taken: list[str] = []

    def counted(place: str, step: str) -> None:
        module, name = place.rsplit(".", 1)
        function = getattr(sys.modules[module], name)
        monkeypatch.setattr(place, lambda *parts, **options: (taken.append(step), function(*parts, **options))[1])

    for place, step in steps.items():
        counted(place, step)
    picture = np.full((64, 64, 4), 255, dtype=np.uint8)
    notes: list[str] = []
    options = FileOptions(**{**FAST, "formats": tuple(FORMATS), "preview_content": ("normals", "textured")})
    write_files(
        dataclasses.replace(sources, picture=picture),
        tmp_path,
        name="ball",
        options=options,
        progress=Progress(),
        on_note=notes.append,
    )
    assert taken == list(steps.values())
    assert len(notes) == 1 and "was not laid on the texture" in notes[0]


@pytest.mark.parametrize(
    ("formats", "content", "missing"),
    [
        (("ply",), ("normals",), "gaussians"),
        (("splat",), ("normals",), "gaussians"),
        (("mp4",), ("gaussians",), "gaussians"),
        (("stl",), ("gaussians",), "mesh"),
        (("mp4",), ("normals",), "mesh"),
    ],
)
def test_a_missing_representation_is_named_before_any_work(formats, content, missing, sources, tmp_path):
    less = dataclasses.replace(sources, **{missing: None})
    with pytest.raises(InvalidInputError, match=f"no {missing}"):
        write(less, tmp_path / "new", formats=formats, preview_content=content)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("missing", [None, "gaussians", "mesh"])
def test_a_draft_shows_what_there_is_before_any_file(missing, sources, tmp_path):
    some = dataclasses.replace(sources, **({missing: None} if missing else {}))
    drafts = []

    def keep(picture: np.ndarray) -> None:
        assert list(tmp_path.iterdir()) == []
        drafts.append(picture)

    options = FileOptions(formats=("ply",) if missing != "gaussians" else ("mesh_ply",), simplify=0)
    quiet = {"progress": Progress(), "on_note": pytest.fail}
    write_files(some, tmp_path, name="ball", options=options, on_draft=keep, **quiet)
    [picture] = drafts
    assert picture.shape == (256, 256 if missing else 512, 3) and picture.dtype == np.uint8
    for side in np.split(picture, picture.shape[1] // 256, axis=1):
        assert side[100:156, 100:156].astype(int).std() > 1 and not np.array_equal(side[128, 128], side[2, 2])


def test_the_preview_may_show_the_textured_mesh(sources, tmp_path):
    content = ("gaussians", "normals", "colors", "textured")
    video = write(sources, tmp_path, formats=("mp4",), preview_content=content)["mp4"]
    frame = imageio.get_reader(video).get_data(0).astype(int)
    assert frame.shape == (256, 1024, 3)
    cloud, _, colors, textured = np.split(frame[:, :, :], 4, axis=1)
    middle = (slice(96, 160), slice(96, 160))
    assert np.abs(colors[middle] - cloud[middle]).mean() < 30  # the same paint from three sources
    assert np.abs(textured[middle] - colors[middle]).mean() < 60  # lit
    assert textured[middle].std() > 3


def test_the_preview_shows_what_people_get_unless_it_is_told_otherwise():
    assert FileOptions(formats=("glb", "ply", "mp4")).shown == ("textured", "normals")
    for formats in (("mp4",), ("ply", "mp4"), ("stl", "mesh_ply", "mp4")):  # none of them shows a texture
        assert FileOptions(formats=formats).shown == ("gaussians", "normals")
    assert FileOptions(formats=("glb", "mp4"), preview_content=("colors",)).shown == ("colors",)


def test_files_of_one_representation_do_not_ask_for_the_other(sources, tmp_path):
    alone = FileSources(sources.gaussians, None)
    assert set(write(alone, tmp_path, formats=("ply", "mp4"), preview_content=("gaussians",))) == {"ply", "mp4"}
    assert set(write(FileSources(None, sources.mesh), tmp_path, formats=("stl", "mp4"), preview_content=("colors",)))


@pytest.mark.parametrize("failure", [OSError("the disk is full"), Cancelled("stop")])
def test_a_failed_write_keeps_every_old_file_and_leaves_no_rest(failure, sources, tmp_path, monkeypatch):
    names = {"ball.ply": b"old ply", "ball.obj": b"old obj", "ball.mp4": b"old video", "ball_base_color.png": b"old"}
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(files, "write_video", fail)
    with pytest.raises(type(failure)):
        write(sources, tmp_path, formats=("ply", "obj", "mp4"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == names


def test_cancel_before_the_first_file_leaves_nothing(sources, tmp_path):
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        write(sources, tmp_path, progress=Progress(cancel=token), formats=("ply",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../ball", "a/b", ""])
def test_a_name_is_no_path(name, sources, tmp_path):
    with pytest.raises(InvalidInputError, match="name of an asset"):
        write_files(sources, tmp_path, name=name, options=FileOptions(), progress=Progress(), on_note=lambda note: None)


def test_an_open_solid_is_told(sources, tmp_path, monkeypatch):
    # Three leaves at one edge enclose nothing and would go.
    monkeypatch.setattr("trellis.export.chain.clean", lambda mesh, progress: mesh)
    vertices = torch.tensor([[0, 0, 0], [0, 0, 1], [1, 0, 0], [-1, 1, 0], [-1, -1, 0]], dtype=torch.float32)
    leaves = Mesh(vertices, torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]]).int())
    notes: list[str] = []
    write_files(
        FileSources(None, leaves),
        tmp_path,
        name="leaves",
        options=FileOptions(formats=("stl",), simplify=0),
        progress=Progress(),
        on_note=notes.append,
    )
    assert len(notes) == 1 and "could not be closed" in notes[0]

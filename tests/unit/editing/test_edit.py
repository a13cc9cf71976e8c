"""Edits of the embedded model's assets: outside of the region no bit changes, and what cannot be is refused."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from trellis.asset import Asset
from trellis.conditioning.view import PictureView
from trellis.editing.boxes import Box
from trellis.editing.region import Region
from trellis.editing.voxels import enclosed, held_inside, occupancy
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import Cancelled, InvalidInputError
from trellis.kept import FileSurface
from trellis.pipeline import ImageTo3D
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.representations.flexicubes import extract_mesh
from trellis.sparse import SparseTensor
from trellis.stages import Stage
from trellis.training.procedural import HELD_OUT_SEEDS, sample_objects
from trellis.training.procedural import occupancy as procedural_occupancy

PICTURES = Path(__file__).parents[3] / "assets" / "example_image"
FEW = {"structure_steps": 2, "latent_steps": 2}
OF_VOXELS = ("gaussians", "radiance_field")  # without the mesh, which takes the most time
UPPER = Box((-0.5, 0.07, -0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def pipeline() -> ImageTo3D:
    """Its encoder sees each structure once: nearly all edits here are of the same one."""
    opened = ImageTo3D.from_pretrained("nano")
    encode, known = opened.encode_structure, dict[bytes, torch.Tensor]()

    def remembered(voxels: torch.Tensor) -> torch.Tensor:
        place = voxels.numpy().tobytes()
        if place not in known:
            known[place] = encode(voxels)
        return known[place].clone()

    opened.encode_structure = remembered
    return opened


@pytest.fixture(scope="module")
def snowman(pipeline: ImageTo3D) -> Asset:
    """Of few voxels: most of an edit's time goes by their number."""
    made = pipeline(PICTURES / "snowman.png", representations=("gaussians", "mesh", "radiance_field"), **FEW)
    assert made.mesh is not None
    return replace(made, surface=FileSurface(SourceMesh.from_mesh(made.mesh)))  # spares making its files


@pytest.fixture(scope="module")
def edited(pipeline: ImageTo3D, snowman: Asset) -> Asset:
    return edit(pipeline, snowman)


def edit(pipeline: ImageTo3D, snowman: Asset, **changes: Any) -> Asset:
    given: dict[str, Any] = {"region": UPPER, "representations": ("gaussians", "mesh", "radiance_field"), **FEW}
    if not changes.get("remove"):
        given["prompt_or_pictures"] = PICTURES / "mushroom.png"
    return pipeline.edit(snowman, **(given | changes))


def rows_outside(asset: Asset, region: torch.Tensor) -> torch.Tensor:
    """Rows of the asset's voxels outside of the region."""
    return (~region[tuple(asset.coords.long().unbind(1))]).nonzero().squeeze(1)


def assert_same_outside(source: Asset, made: Asset, within: Any = None) -> None:
    """Outside of the region that the edited asset keeps, or of the one given."""
    if within is None:
        assert made.kept is not None
        region = made.kept.region
    else:
        occupied = occupancy(source.coords, source.resolution)
        region = Region.of(within).mask(source.resolution, to_cube=source.to_cube, occupied=occupied)
    before, after = rows_outside(source, region), rows_outside(made, region)
    assert len(before) > 0
    assert torch.equal(source.coords[before], made.coords[after])
    assert torch.equal(source.latent[before], made.latent[after])
    for name in ("gaussians", "radiance_field"):
        old, new = getattr(source, name), getattr(made, name)
        for field in fields(old):
            values = getattr(old, field.name), getattr(new, field.name)
            if isinstance(values[0], torch.Tensor):
                first = values[0].unflatten(0, (len(source.coords), -1))[before]
                assert torch.equal(first, values[1].unflatten(0, (len(made.coords), -1))[after]), field.name


def test_outside_of_the_region_nothing_changes(snowman: Asset, edited: Asset) -> None:
    assert_same_outside(snowman, edited)
    assert not torch.equal(edited.coords, snowman.coords), "inside something did"


def test_the_surface_outside_does_not_move(snowman: Asset, edited: Asset) -> None:
    """Vertices more than a fine voxel below the region are the same numbers, with the same colours."""
    border = 0.07 - 1 / 64
    for old, new in zip(*(lower_vertices(asset, border) for asset in (snowman, edited)), strict=True):
        assert torch.equal(old, new)


def lower_vertices(asset: Asset, below: float) -> tuple[torch.Tensor, torch.Tensor]:
    assert asset.mesh is not None and asset.mesh.attributes is not None
    lower = asset.mesh.vertices[:, 2] < below
    assert int(lower.sum()) > 1000
    return asset.mesh.vertices[lower], asset.mesh.attributes[lower]


def test_without_putting_the_values_back_it_would_move(pipeline: ImageTo3D, snowman: Asset, edited: Asset) -> None:
    """What the decoder makes of the same latents depends on the new neighbours."""
    voxels = torch.cat([torch.zeros_like(edited.coords[:, :1]), edited.coords], 1)
    grid = SparseTensor.create(edited.latent, voxels, resolution=edited.resolution)
    [(coords, feats)] = pipeline.decode_mesh_features(grid).samples()
    plain = extract_mesh(coords, feats, resolution=128)
    lower = plain.vertices[plain.vertices[:, 2] < 0.07 - 1 / 64]
    assert snowman.mesh is not None
    before = snowman.mesh.vertices[snowman.mesh.vertices[:, 2] < 0.07 - 1 / 64]
    assert len(lower) != len(before) or not torch.equal(lower, before)


def test_the_same_request_gives_the_same_bytes_and_another_seed_another_part(
    pipeline: ImageTo3D, snowman: Asset, edited: Asset, tmp_path: Path
) -> None:
    again = edit(ImageTo3D.from_pretrained("nano"), snowman)
    paths = [asset.store(tmp_path / f"{i}.safetensors") for i, asset in enumerate((edited, again))]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    other = edit(pipeline, snowman, seed=1, representations=("gaussians",))
    assert not torch.equal(other.latent, edited.latent)


@pytest.mark.parametrize(
    "boxes",
    [
        [Box((-0.5, 0.0723, -0.4871), (0.4913, 0.5, 0.2))],  # off the cells
        [Box((0.0, -0.0313, 0.28), (0.0312, 0.0, 0.4))],  # of few voxels
        [Box((-0.5, 0.1, -0.5), (0.0, 0.5, 0.5)), Box((0.2, -0.5, 0.0), (0.5, 0.5, 0.5))],
    ],
    ids=["off the cells", "small", "two"],
)
def test_regions_of_every_kind(pipeline: ImageTo3D, snowman: Asset, boxes: list[Box]) -> None:
    assert_same_outside(snowman, edit(pipeline, snowman, region=boxes, representations=OF_VOXELS), boxes)


def test_one_voxel(pipeline: ImageTo3D, snowman: Asset) -> None:
    voxel = snowman.coords[len(snowman.coords) // 2][None]
    made = edit(pipeline, snowman, region=voxel)
    assert made.kept is not None and int(made.kept.region.sum()) == 1
    assert_same_outside(snowman, made)
    assert abs(len(made.coords) - len(snowman.coords)) <= 1


def test_removing_closes_the_cut(pipeline: ImageTo3D, snowman: Asset) -> None:
    """A generous box is no news, nor is how the background of the source's picture was removed."""
    source = replace(snowman, prepared=tuple(replace(image, notes=("told before",)) for image in snowman.prepared))
    made = edit(pipeline, source, remove=True, region=Box((-0.6, 0.07, -0.6), (0.6, 0.8, 0.6)))
    assert made.notes == ()
    assert_same_outside(snowman, made)
    before, after = (occupancy(asset.coords, asset.resolution) for asset in (snowman, made))
    assert made.kept is not None
    for within in (enclosed, held_inside):
        assert not bool((within(before) & ~made.kept.region & ~within(after)).any())
    assert int((before & made.kept.region).sum()) > int((after & made.kept.region).sum()) > 0
    assert made.prepared == source.prepared and not made.kept.pictured


def test_an_edited_asset_comes_back_from_its_file_and_can_be_edited_again(
    pipeline: ImageTo3D, edited: Asset, tmp_path: Path
) -> None:
    loaded = Asset.load(edited.store(tmp_path / "kept.safetensors"))
    assert loaded.kept is not None and edited.kept is not None
    assert torch.equal(loaded.kept.region, edited.kept.region)
    assert torch.equal(loaded.kept.surface.vertices, edited.kept.surface.vertices)
    assert loaded.kept.surface.materials == edited.kept.surface.materials
    again = edit(pipeline, replace(loaded, surface=FileSurface(edited.kept.surface)), remove=True)
    assert_same_outside(loaded, again)


def test_a_source_without_the_representation_has_it_decoded(pipeline: ImageTo3D, snowman: Asset, edited: Asset) -> None:
    bare = replace(snowman, gaussians=None, mesh=None, radiance_field=None)
    made = edit(pipeline, bare, representations=OF_VOXELS)
    assert made.gaussians is not None and edited.gaussians is not None
    assert torch.equal(made.gaussians.positions, edited.gaussians.positions)


def test_resampling_changes_the_part_alone(pipeline: ImageTo3D, snowman: Asset, edited: Asset) -> None:
    made = edit(pipeline, snowman, resample=2, representations=OF_VOXELS)
    assert_same_outside(snowman, made, UPPER)
    assert not torch.equal(made.latent, edited.latent)


def test_a_structure_is_moved_down_a_loss_where_it_is_free(pipeline: ImageTo3D, snowman: Asset) -> None:
    voxels = torch.nn.functional.pad(snowman.coords, (1, 0))
    free = torch.zeros(1, 1, 8, 8, 8, dtype=torch.bool)
    free[..., 4:] = True
    losses = list[float]()

    def loss(numbers: torch.Tensor) -> torch.Tensor:
        losses.append(float(numbers.detach()[..., 20:].sigmoid().sum()))
        return numbers[..., 20:].sigmoid().sum()

    with torch.inference_mode():  # as an edit is made
        before = pipeline.structure_mean(voxels)
        after = pipeline.fit_structure(before, free, loss, steps=5)
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.97 * losses[0]
    where = free.expand_as(before)
    assert torch.equal(after[~where], before[~where])
    assert not torch.equal(after[where], before[where])


def test_a_structure_comes_back_from_its_latent(pipeline: ImageTo3D, snowman: Asset) -> None:
    """Of the chair the encoder loses voxels that the gradient brings back; of the snowman that would lose some."""
    chair = procedural_occupancy(sample_objects([HELD_OUT_SEEDS.start + 104], ["chair"]))[0]
    scores = []
    for wanted in (chair, occupancy(snowman.coords, 32)):
        voxels = torch.nn.functional.pad(wanted.nonzero().int(), (1, 0))
        with torch.inference_mode():  # as a variant is made
            found = [
                pipeline.decode_occupancy(latent)[0]
                for latent in (pipeline.structure_mean(voxels), pipeline.encode_structure(voxels))
            ]
        scores.append([float((one & wanted).sum() / (one | wanted).sum()) for one in found])
    (mean, fitted), (known, kept) = scores
    assert 1 - fitted < 0.8 * (1 - mean) and kept == known > 0.98, scores


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"region": Box((0.6, 0.6, 0.6), (0.7, 0.7, 0.7))}, "no voxel"),
    ({"region": Box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))}, "generate instead"),
    ({"region": Box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)), "remove": True}, "nothing of it would be left"),
    ({"region": Box((-0.5, 0.45, -0.5), (-0.4, 0.5, -0.4)), "remove": True}, "nothing to remove"),
    ({"prompt_or_pictures": None}, "one of them"),
    ({"prompt_or_pictures": PICTURES / "mushroom.png", "remove": True}, "one of them"),
    ({"resample": 11}, "1 to 10"),
    ({"representations": ("points",)}, "no representation"),
    ({"view": PictureView((64, 64), (0, 0, 64, 64))}, "its view 64 x 64"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_edited_is_refused(
    pipeline: ImageTo3D, snowman: Asset, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        edit(pipeline, snowman, **changes)


def test_an_asset_of_another_latent_is_refused(pipeline: ImageTo3D, snowman: Asset) -> None:
    with pytest.raises(InvalidInputError, match="another latent"):
        edit(pipeline, replace(snowman, resolution=64))


def test_a_region_beyond_the_cube_is_clipped_and_said(pipeline: ImageTo3D, snowman: Asset) -> None:
    made = edit(pipeline, snowman, region=Box((-0.5, 0.07, -0.5), (0.5, 0.8, 0.5)), representations=("gaussians",))
    assert any("reaches beyond" in note for note in made.notes)


@pytest.mark.parametrize("stage", [Stage.STRUCTURE, Stage.LATENT])
def test_a_wish_to_stop_is_heard_within_one_step(pipeline: ImageTo3D, snowman: Asset, stage: Stage) -> None:
    token, after = CancelToken(), list[StepInfo]()

    def listen(step: StepInfo) -> None:
        if token.cancelled:
            after.append(step)
        if step.stage == stage:
            token.cancel()

    with pytest.raises(Cancelled):
        edit(pipeline, snowman, progress=Progress(listen, token))
    assert after == []


def test_the_picture_is_cropped_with_the_sources_box(pipeline: ImageTo3D, snowman: Asset, tmp_path: Path) -> None:
    """A picture of the source's size is seen in its window; of another size tightly, with a note."""
    first = snowman.prepared[0]
    picture = first.cutout.copy()
    small = picture.resize((100, 100)).crop((0, 0, 100, 100))
    blank = Image.new("RGBA", picture.size)
    blank.paste(small, (picture.width // 2 - 50, picture.height // 2 - 50))
    same = edit(pipeline, snowman, prompt_or_pictures=blank, representations=("gaussians",))
    assert same.prepared[0].box == first.box
    other = edit(pipeline, snowman, prompt_or_pictures=blank.resize((300, 300)), representations=("gaussians",))
    assert any("another size" in note for note in other.notes)
    assert not any("another size" in note for note in same.notes)
    view = PictureView(picture.size, (10, 20, 110, 120))
    wide = edit(pipeline, snowman, prompt_or_pictures=first.cutout, view=view, representations=("gaussians",))
    left, top, right, bottom = wide.prepared[0].box
    assert right - left == bottom - top > 100 and left <= 10 and top <= 20, "widened about the object"


def test_a_variant_may_change_the_shape_and_keep_a_part_of_the_surface(pipeline: ImageTo3D) -> None:
    cake = pipeline(PICTURES / "cake.png", representations=("gaussians",), **FEW)
    few = {"structure_steps": 3, "latent_steps": 3}

    def variant(**strengths: float) -> Asset:
        return pipeline.variant(cake, PICTURES / "mushroom.png", representations=("gaussians",), **strengths, **few)

    def distance(made: Asset) -> float:
        return float((made.latent - cake.latent).square().mean())

    slight, strong = variant(strength=0.1), variant(strength=1.0)
    assert torch.equal(slight.coords, cake.coords) and torch.equal(strong.coords, cake.coords)
    assert 0 < distance(slight) < 0.5 * distance(strong)
    near, far = (variant(shape_strength=strength, strength=0.8) for strength in (0.1, 1.0))
    grids = [occupancy(made.coords, made.resolution) for made in (near, far, cake)]
    shared = [float((grid & grids[2]).sum() / (grid | grids[2]).sum()) for grid in grids[:2]]
    assert 0.7 < shared[0] < 1 and shared[1] < shared[0] - 0.2

"""The check passes on a folder that was made by hand in the published layout, and tells each thing that is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trellis.dataset.check import check_folder
from trellis.errors import InvalidInputError

SHA = "0123456789abcdef" * 4
FEATURES, STRUCTURE = "dinov2_vitl14_reg", "ss_enc_conv3d_16l8_fp16"
LATENT = f"{FEATURES}_slat_enc_swin8_B_64l8_fp16"
COORDS = np.array([[0, 1, 2], [3, 4, 5], [63, 63, 63]], np.uint8)


def write_pictures(folder: Path, size: int) -> None:
    folder.mkdir(parents=True)
    frames = []
    for number in range(2):
        pixels = np.zeros((size, size, 4), np.uint8)
        pixels[20:40, 20:40] = 200
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        place = np.eye(4)
        place[2, 3] = 2
        frames.append({"file_path": f"{number:03d}.png", "camera_angle_x": 0.7, "transform_matrix": place.tolist()})
    box = [[-0.5] * 3, [0.5] * 3]
    content = {"aabb": box, "scale": 1, "offset": [0, 0, 0], "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the published steps leave it, made without any of our writers."""
    root = tmp_path_factory.mktemp("published")
    names = ["rendered", "voxelized", "cond_rendered"]
    names += [f"feature_{FEATURES}", f"latent_{LATENT}", f"ss_latent_{STRUCTURE}"]
    head = ["sha256", "file_identifier", "aesthetic_score", "captions", "local_path", "num_voxels", *names]
    row = [SHA, "a.glb", "5.6", '"[""a chair""]"', "raw/a.glb", "3.0", *["True"] * 6]
    (root / "metadata.csv").write_text(",".join(head) + "\n" + ",".join(row) + "\n")
    write_pictures(root / "renders" / SHA, 512)
    (root / "renders" / SHA / "mesh.ply").write_bytes(b"ply\n")
    write_pictures(root / "renders_cond" / SHA, 1024)
    points = (COORDS + 0.5) / 64 - 0.5
    (root / "voxels").mkdir()
    lines = ["ply", "format ascii 1.0", "element vertex 3", *(f"property float {axis}" for axis in "xyz"), "end_header"]
    body = [" ".join(map(str, point)) for point in points]
    (root / "voxels" / f"{SHA}.ply").write_text("\n".join(lines + body) + "\n")
    arrays = {
        f"features/{FEATURES}": {"indices": COORDS, "patchtokens": np.ones((3, 1024), np.float16)},
        f"latents/{LATENT}": {"feats": np.ones((3, 8), np.float32), "coords": COORDS},
        f"ss_latents/{STRUCTURE}": {"mean": np.ones((8, 16, 16, 16), np.float32)},
    }
    for name, values in arrays.items():
        (root / name).mkdir(parents=True)
        np.savez_compressed(root / name / f"{SHA}.npz", **values)  # type: ignore[arg-type]
    (root / "latents" / LATENT / "stats.json").write_text(json.dumps({"mean": [0.0] * 8, "std": [1.0] * 8}))
    return root


def test_a_published_folder_passes(published: Path) -> None:
    report = check_folder(published)
    assert report.faults == []
    flows = [f"{stage} flow, {kind}" for stage in ("structure", "latent") for kind in ("pictures", "texts")]
    for use in ("structure VAE", "latent VAE", *flows):
        assert f"for the {use}: 1 objects" in report.counts


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return change


def saved(name: str, **arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda root: np.savez_compressed(root / name / f"{SHA}.npz", **arrays)  # type: ignore[arg-type]


def removed(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:200]) and None


def painted(mode: str, size: tuple[int, int]) -> Callable[[Path], None]:
    return lambda root: Image.new(mode, size).save(root / "renders_cond" / SHA / "001.png")


COND = f"renders_cond/{SHA}"
ONES = np.ones((3, 8), np.float32)
BREAKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no voxels": (removed(f"voxels/{SHA}.ply"), "is missing"),
    "no latent": (removed(f"latents/{LATENT}/{SHA}.npz"), "is missing"),
    "no picture": (removed(f"{COND}/001.png"), "001.png cannot be read"),
    "no cameras": (removed(f"{COND}/transforms.json"), "is missing or damaged"),
    "no statistics": (removed(f"latents/{LATENT}/stats.json"), "run stat_latent"),
    "torn latent": (cut(f"latents/{LATENT}/{SHA}.npz"), "cannot be read"),
    "torn picture": (cut(f"{COND}/000.png"), "000.png cannot be read"),
    "torn cameras": (cut(f"{COND}/transforms.json"), "damaged"),
    "off the grid": (replaced(f"voxels/{SHA}.ply", "-0.4921875", "-0.49"), "no centres of voxels"),
    "points missing": (replaced("metadata.csv", "3.0", "4"), "has 3 points, metadata.csv says 4"),
    "flag": (replaced("metadata.csv", "True,True,True", "yes,True,True"), "not True or False"),
    "sha": (replaced("metadata.csv", SHA, "x"), "no sha256"),
    "captions": (replaced("metadata.csv", '"[""a chair""]"', "a chair"), "no JSON list"),
    "twice": (lambda root: append_row(root), "1 objects twice"),
    "matrix": (replaced(f"{COND}/transforms.json", "1.0, 0.0, 0.0, 0.0", "1.0, 0.5, 0.0, 0.0"), "no camera's place"),
    "field of view": (replaced(f"{COND}/transforms.json", "0.7", "4.0"), "field of view of 4.0"),
    "mode": (painted("RGB", (1024, 1024)), "is RGB, not RGBA"),
    "size": (painted("RGBA", (512, 512)), "squares of one size"),
    "type": (saved(f"latents/{LATENT}", feats=ONES.astype(np.float16), coords=COORDS), "not float32"),
    "coords": (saved(f"latents/{LATENT}", feats=ONES, coords=COORDS.astype(np.int32)), "not uint8"),
    "lengths": (saved(f"latents/{LATENT}", feats=ONES[:2], coords=COORDS), "do not go with"),
    "not finite": (saved(f"latents/{LATENT}", feats=ONES * np.nan, coords=COORDS), "not finite"),
    "names": (saved(f"features/{FEATURES}", feats=ONES, coords=COORDS), "no array 'patchtokens'"),
    "other voxels": (saved(f"latents/{LATENT}", feats=ONES, coords=COORDS[::-1] // 2), "have other voxels"),
    "structure": (saved(f"ss_latents/{STRUCTURE}", mean=np.ones((8, 16, 16, 8), np.float32)), "not [C, r, r, r]"),
    "statistics": (replaced(f"latents/{LATENT}/stats.json", "1.0", "0.0"), "std positive"),
    "not merged": (lambda root: (root / "voxelized_1.csv").write_text("sha256\n") and None, "is not merged"),
}  # fmt: skip


def append_row(root: Path) -> None:
    lines = (root / "metadata.csv").read_text().splitlines()
    (root / "metadata.csv").write_text("\n".join([*lines, lines[1]]) + "\n")


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_told(name: str, published: Path, tmp_path: Path) -> None:
    change, words = BREAKS[name]
    root = shutil.copytree(published, tmp_path / "broken")
    change(root)
    faults = check_folder(root).faults
    assert any(words in fault for fault in faults), faults


def test_a_folder_without_metadata_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"has no metadata\.csv"):
        check_folder(tmp_path)
    (tmp_path / "metadata.csv").write_text("sha256\n")
    assert check_folder(tmp_path).faults == ["No object has all that any kind of training needs."]

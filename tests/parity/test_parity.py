"""Every reference case as a test, and tests of the runner: it must see changed numbers, salts and unknown cases."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parity import run
from tests.parity.compare import Tolerance, compare, mesh_invariants

CONTENT = json.loads(run.GOLDENS.read_text(encoding="utf-8"))
REFERENCES = run.load_references(run.GOLDENS)
IMAGES = load_file(run.RENDERS)
QUICK = ("samplers", "camera", "flexicubes_shell")


@pytest.mark.parametrize("case", REFERENCES.cases)
def test_numbers_agree(case: str) -> None:
    checks = run.check_case(REFERENCES, case)
    assert checks
    assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize("key", sorted(IMAGES))
def test_images_agree(key: str) -> None:
    checks = run.check_render(IMAGES, key)
    assert checks
    assert [check for check in checks if not check.ok] == []


def run_on(tmp_path: Path, *, goldens: dict | None = None, images: dict | None = None) -> int:
    """Exit status of the runner on small files: three quick cases and one image unless others are given."""
    goldens = goldens if goldens is not None else small_goldens()
    images = images if images is not None else {"extr_0": IMAGES["extr_0"]}
    numbers, pictures = tmp_path / "goldens.json", tmp_path / "renders.safetensors"
    numbers.write_text(json.dumps(goldens), encoding="utf-8")
    save_file(images, pictures)
    return run.main(["--goldens", str(numbers), "--renders", str(pictures)])


def small_goldens() -> dict:
    content = copy.deepcopy(CONTENT)
    content["cases"] = {name: content["cases"][name] for name in QUICK}
    return content


def test_unchanged_files_pass(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_on(tmp_path) == 0
    assert "4 of 4 cases agree" in capsys.readouterr().out


@pytest.mark.parametrize("statistic", ["values", "mean", "std", "abs_max"])
def test_a_changed_number_is_a_miss(tmp_path: Path, statistic: str, capsys: pytest.CaptureFixture) -> None:
    goldens = small_goldens()
    summary = goldens["cases"]["samplers"]["cases"]["cfg_7"]
    if statistic == "values":
        summary["values"][3] += 3e-5 * summary["abs_max"]
    else:
        summary[statistic] += 3e-5 * summary["abs_max"]
    assert run_on(tmp_path, goldens=goldens) == 1
    assert "MISS samplers" in capsys.readouterr().out


def test_a_changed_count_or_matrix_is_a_miss(tmp_path: Path) -> None:
    for case, change in (
        ("flexicubes_shell", lambda entry: entry["mesh"].update(num_faces=7815)),
        ("flexicubes_shell", lambda entry: entry["mesh"].update(area=entry["mesh"]["area"] * 1.00002)),
        ("camera", lambda entry: entry["extrinsics"][0].__setitem__(0, -0.9553)),
    ):
        goldens = small_goldens()
        change(goldens["cases"][case])
        assert run_on(tmp_path, goldens=goldens) == 1


def test_the_salt_is_read_from_the_file(tmp_path: Path) -> None:
    goldens = small_goldens()
    goldens["salt"] = "other/"
    assert run_on(tmp_path, goldens=goldens) == 1


def test_another_salt_changes_the_weights_of_networks() -> None:
    salted = run.References("other/", REFERENCES.cases)
    checks = run.check_case(salted, "ss_decoder")
    assert [check.ok for check in checks] == [False]


def test_shapes_are_read_from_the_file() -> None:
    cases = copy.deepcopy({"samplers": REFERENCES.cases["samplers"], "ss_flow": REFERENCES.cases["ss_flow"]})
    cases["samplers"]["inputs"]["noise"] = [2, 1, 4, 4, 4]
    cases["ss_flow"]["inputs"].update(x=[1, 8, 8, 8, 8], t=[5.0], cond=[1, 3, 48])
    refs = run.References("", cases)
    assert run.rebuild(refs, "samplers")["cases"]["euler_7"].shape == (2, 1, 4, 4, 4)
    assert run.rebuild(refs, "ss_flow")["out"].shape == (1, 8, 8, 8, 8)


def test_voxel_counts_are_read_from_the_file() -> None:
    cases = copy.deepcopy({"downsample2": REFERENCES.cases["downsample2"]})
    cases["downsample2"]["inputs"]["coords"] = [[50, 20, 30], 8]
    x = run.References("", cases).sparse("downsample2", "layers/x", 32)
    assert x.lengths == (50, 20, 30)
    assert x.resolution == 8


def test_a_case_without_recipe_is_a_miss(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    goldens = small_goldens()
    goldens["cases"]["something_new"] = {"out": {"shape": [1], "values": [0.0], "at": [0]}}
    assert run_on(tmp_path, goldens=goldens) == 1
    assert "no recipe" in capsys.readouterr().out
    assert run_on(tmp_path, images={"extr_0": IMAGES["extr_0"], "gs_z_0_black": IMAGES["rf_0"]}) == 1


def test_an_error_in_one_case_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    goldens = small_goldens()
    del goldens["cases"]["samplers"]["inputs"]["noise"]
    assert run_on(tmp_path, goldens=goldens) == 1
    assert "3 of 4 cases agree" in capsys.readouterr().out


def test_a_number_that_nothing_computes_is_a_miss(tmp_path: Path) -> None:
    goldens = small_goldens()
    goldens["cases"]["camera"]["distortion"] = [0.1, 0.2]
    assert run_on(tmp_path, goldens=goldens) == 1


def test_empty_files_do_not_pass(tmp_path: Path) -> None:
    assert run_on(tmp_path, goldens={**CONTENT, "cases": {}}) == 1
    assert run_on(tmp_path, images={}) == 1


@pytest.mark.parametrize("key", ["gs_a_0_black", "rf_0", "mesh_depth", "extr_0"])
def test_a_changed_image_is_a_miss(key: str) -> None:
    images = {name: image.clone() for name, image in IMAGES.items()}
    images[key] += 0.01
    assert any(not check.ok for check in run.check_render(images, key))


def test_keys_of_another_render_file_have_recipes() -> None:
    images = {**IMAGES, "gs_b_1_black": torch.zeros(3, 16, 16), "rf_1": torch.zeros(3, 16, 16)}
    for key in ("gs_b_1_black", "rf_1"):
        errors = [check.error for check in run.check_render(images, key)]
        # Compared pixel by pixel with black: wrong, but finite.
        assert max(errors) > 0.05
        assert max(errors) < 10


def test_nan_is_never_agreement() -> None:
    summary = {"shape": [2], "mean": 0.0, "std": 1.0, "abs_max": 1.0, "at": [0, 1], "values": [-1.0, 1.0]}
    good, bad = torch.tensor([-1.0, 1.0]), torch.tensor([float("nan"), 1.0])
    assert [check.ok for check in compare(summary, good, Tolerance())] == [True]
    assert [check.ok for check in compare(summary, bad, Tolerance())] == [False]
    assert [check.ok for check in compare(summary, good[None], Tolerance())] == [False]


def test_mesh_invariants_of_a_known_solid() -> None:
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    figures = mesh_invariants(corners, faces, torch.full((4, 6), 0.5))
    assert figures["signed_volume"].item() == pytest.approx(1 / 6)
    assert figures["area"].item() == pytest.approx(1.5 + 3**0.5 / 2)
    assert figures["vertex_mean"].tolist() == pytest.approx([0.25] * 3)


def table_of(printed: str) -> dict[str, list[str]]:
    """Rows of the table of back ends: image -> its column entries."""
    lines = printed[printed.index("Largest errors") :].splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines[2:-1]}


def test_back_ends_have_a_table(capsys: pytest.CaptureFixture) -> None:
    assert run.main(["--backend", "reference", "warp"]) == 0
    printed = capsys.readouterr().out
    assert "16 of 16 images agree" in printed and "samplers" not in printed
    table = table_of(printed)
    assert sorted(table) == [key for key in sorted(IMAGES) if not key.startswith(("extr", "intr"))]
    assert all(len(row) == 2 and float(error) < 0.5 for row in table.values() for error in row)


def test_a_back_end_that_is_missing_or_wrong_is_a_miss(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run.main(["--backend", "nvdiffrast"]) == 1
    assert "is not installed" in capsys.readouterr().out
    changed = tmp_path / "changed.safetensors"
    save_file({key: image + 0.01 * (key == "rf_0") for key, image in IMAGES.items()}, changed)
    assert run.main(["--backend", "warp", "gsplat", "--renders", str(changed)]) == 1
    table = table_of(capsys.readouterr().out)
    assert table["rf_0"][1:] == ["MISS", "-"] and len(table["gs_a_0_black"]) == 3


def test_other_inputs_of_the_same_recipes_agree(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / "other.safetensors"
    assert run.main(["--other-inputs", str(other)]) == 0
    images = load_file(other)
    assert not {key for key in images if key in IMAGES and images[key].shape == IMAGES[key].shape}
    assert run.main(["--backend", "warp", "--renders", str(other)]) == 0
    assert "9 of 9 images agree" in capsys.readouterr().out

"""Every network: reference numbers, gradients, precision, sensitivity to its inputs."""

import json
from pathlib import Path

import pytest
import torch

from tests.parity import golden
from trellis.errors import InvalidInputError
from trellis.models import create_model, initialize_for_training
from trellis.sparse import SparseTensor

CASES = json.loads((Path(golden.__file__).parent / "data/goldens.json").read_text())["cases"]
NETWORKS = [name for name, case in CASES.items() if "cls" in case]
TOLERANCE = 1e-5


def build(name, **changes):
    model = create_model(CASES[name]["cls"], {**CASES[name]["args"], **changes})
    golden.fill(model.named_parameters())
    return model.eval()


def sparse(tag, channels):
    coords = golden.voxels("slat_flow", [300, 170], 16)
    return SparseTensor.create(golden.normal(tag, len(coords), channels), coords, resolution=16)


def run(model, name, salt=""):
    """The outputs of a network on the inputs of its case, in a list of tensors."""
    kind, inputs = CASES[name]["cls"], CASES[name].get("inputs", {})
    if kind == "SparseStructureFlowModel":
        x, cond = (golden.normal(f"{salt}{name}/{key}", *inputs[key]) for key in ("x", "cond"))
        return [model(x, torch.tensor(inputs["t"]), cond)]
    if kind == "SparseStructureEncoder":
        return list(model((golden.normal(salt + "ss_enc/x", 2, 1, 16, 16, 16) > 0).float()))
    if kind == "SparseStructureDecoder":
        return [model(golden.normal(salt + "ss_dec/z", *inputs["z"]))]
    if kind == "SLatFlowModel":
        cond = golden.normal(salt + "slat_flow/cond", *inputs["cond"])
        return [model(sparse(salt + "slat_flow/x", 8), torch.tensor(inputs["t"]), cond).feats]
    if kind == "SLatEncoder":
        return [part.feats for part in model(sparse(salt + "slat_enc/x", 24))]
    return [feats for _, feats in model(sparse(salt + "slat_dec/z", 8)).samples()]


def expected(name):
    case = CASES[name]
    if name == "slat_decoder_mesh":
        return [entry["out"] for entry in case["voxel_feats"]]
    return [case["mean"], case["logvar"]] if "mean" in case else [case["out"]]


def assert_summary(tensor, reference):
    ours, scale = golden.summary(tensor), TOLERANCE * reference["abs_max"]
    assert ours["shape"] == reference["shape"]
    assert ours["mean"] == pytest.approx(reference["mean"], abs=scale)
    assert ours["std"] == pytest.approx(reference["std"], abs=scale)
    assert ours["values"] == pytest.approx(reference["values"], abs=scale)


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in ("slat_decoder_gs", "slat_decoder_rf")])
@torch.no_grad()
def test_reference_numbers(name):
    outputs = run(build(name), name)
    references = expected(name)
    assert len(outputs) == len(references)
    for output, reference in zip(outputs, references):
        assert_summary(output, reference)


@torch.no_grad()
def test_reference_numbers_of_raw_decoder_features():
    for feats, sample in zip(run(build("slat_decoder_gs"), "slat_decoder_gs"), CASES["slat_decoder_gs"]["samples"]):
        assert_summary(feats[:, 24:48].reshape(-1, 1, 3), sample["features_dc"])
    for feats, sample in zip(run(build("slat_decoder_rf"), "slat_decoder_rf"), CASES["slat_decoder_rf"]["samples"]):
        assert_summary(1 + feats[:, :96].reshape(-1, 4, 3, 8), sample["trivec"])
        assert_summary(feats[:, 96:100], sample["density"])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_a_gradient_and_bfloat16_agrees(name):
    model = build(name)
    weights, gradients = None, []
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            outputs = run(model, name)
        flat = torch.cat([output.float().flatten() for output in outputs])
        weights = golden.normal("weights", len(flat)) if weights is None else weights
        gradients.append(torch.autograd.grad((flat * weights).sum(), list(model.parameters())))
    assert all(g.abs().sum() > 0 for g in gradients[0])
    exact, rounded = (torch.cat([g.flatten() for g in side]) for side in gradients)
    assert torch.cosine_similarity(exact, rounded, dim=0) > 0.99


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_other_inputs_give_other_outputs(name):
    model = build(name)
    for ours, other in zip(run(model, name), run(model, name, salt="other/")):
        assert (ours - other).abs().mean() > 0.01 * ours.abs().mean()
        assert ours.std() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_half_precision_torso_stays_close(name, dtype):
    model = build(name)
    exact = torch.cat([output.flatten() for output in run(model, name)])
    model.set_precision(dtype)
    rounded = torch.cat([output.flatten() for output in run(model, name)])
    assert rounded.dtype == torch.float32 and model.torso_dtype == dtype
    limit = 0.05 if dtype == torch.bfloat16 else 0.01
    assert (rounded - exact).abs().max() < limit * exact.abs().max()


@torch.no_grad()
def test_samples_of_a_batch_do_not_mix():
    model, x = build("slat_flow"), sparse("slat_flow/x", 8)
    cond, t = golden.normal("slat_flow/cond", 2, 7, 48), torch.tensor([250.0, 900.0])
    together = model(x, t, cond).samples()
    coords = torch.cat([x.coords[300:, :1] * 0, x.coords[300:, 1:]], 1)
    alone = model(SparseTensor.create(x.feats[300:], coords, resolution=16), t[1:], cond[1:])
    torch.testing.assert_close(alone.feats, together[1][1], rtol=1e-5, atol=1e-5)


def test_recomputation_gives_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        model = build("slat_decoder_mesh", use_checkpoint=recompute).train()
        assert model.recompute == recompute
        torch.cat(run(model, "slat_decoder_mesh")).square().mean().backward()
        gradients.append(model.input_layer.weight.grad)
    torch.testing.assert_close(*gradients)


def test_training_starts_from_zero_output_and_identity_blocks():
    model = create_model("SparseStructureFlowModel", {**CASES["ss_flow"]["args"], "use_fp16": True})
    initialize_for_training(model)
    assert model.torso_dtype == torch.float32
    assert run(model, "ss_flow")[0].abs().max() == 0
    assert all(block.adaLN_modulation[1].weight.abs().sum() == 0 for block in model.blocks)
    assert model.blocks[0].mlp.mlp[0].weight.std() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope": True}, "unknown argument rope"),
        ({"pe_mode": "rope"}, "'ape'"),
        ({"num_heads": 7}, "multiple"),
        ({"attn_mode": "dilated"}, "'swin'"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        build("slat_encoder_swin", **change)


def test_missing_argument_and_unknown_class_are_named():
    with pytest.raises(InvalidInputError, match=r"missing argument .*latent_channels"):
        create_model("SLatEncoder", {"resolution": 16, "model_channels": 64, "num_blocks": 1, "num_heads": 4})
    with pytest.raises(InvalidInputError, match="SLatMeshDecoder"):
        create_model("SLatVoxelDecoder", {})

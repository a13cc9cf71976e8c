"""How each case of goldens.json is rebuilt with this library; inputs as the README of the reference numbers says."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tests.parity import golden
from tests.parity.compare import Tolerance, UnknownCaseError, mesh_invariants
from tests.parity.renders import CPU
from trellis.conditioning.framing import frame_object
from trellis.export.ply import GAUSSIAN_FIELDS, gaussian_columns
from trellis.geometry.cameras import orbit_cameras, uniform_view_angles
from trellis.models import create_model
from trellis.nn.conv import SparseConv3d
from trellis.nn.norm import SegmentGroupNorm
from trellis.ops.serialize import serialize
from trellis.representations import GaussianCloud, GaussianConfig, RadianceField, RadianceFieldConfig
from trellis.representations.flexicubes import extract_mesh
from trellis.sampling import TIME_SCALE, euler_sample, guide
from trellis.sparse import SparseTensor, downsample, subdivide

SAMPLER_VELOCITY = "v(x,t,cond) = 0.3*x*(t/1000) + mean(cond) - 0.1*x**2, t on the 0..1000 scale"
FLEXICUBES_RESOLUTION = 32

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class References:
    """A goldens file: the salt of all inputs and weights, and its cases; and what computes them.

    prepare: what is done to a network before it is used, as choosing its precision or back ends.
    """

    salt: str
    cases: Mapping[str, Any]
    device: torch.device = CPU
    prepare: Callable[[Any], None] = lambda network: None

    def normal(self, tag: str, *shape: int) -> Tensor:
        return golden.normal(self.salt + tag, *shape).to(self.device)

    def grid(self, case: str) -> tuple[list[int], int]:
        """Voxel counts and resolution of a case; cases that state none share those of the sparse cases."""
        for name in (case, "slat_decoder_gs", "downsample2", "slat_flow"):
            inputs = self.cases.get(name, {}).get("inputs", {})
            if "coords" in inputs:
                counts, resolution = inputs["coords"]
                return counts, resolution
        raise UnknownCaseError(f"no case of the file states the voxels that {case} uses")

    def sparse(self, case: str, tag: str, channels: int) -> SparseTensor:
        counts, resolution = self.grid(case)
        feats = self.normal(tag, sum(counts), channels)
        coords = golden.voxels(self.salt + "slat_flow", counts, resolution).to(self.device)
        return SparseTensor.create(feats, coords, resolution=resolution, batch_size=len(counts))

    def model(self, case: str) -> Any:
        network = self.filled(create_model(self.cases[case]["cls"], self.cases[case]["args"]).float().eval())
        self.prepare(network)
        return network

    def filled(self, layer: M) -> M:
        """The layer with the weights of the file."""
        golden.fill(layer.named_parameters(), self.salt)
        return layer.to(self.device)


def structure_flow(refs: References, case: str) -> dict[str, Any]:
    inputs = refs.cases[case]["inputs"]
    x, cond = (refs.normal(f"{case}/{name}", *inputs[name]) for name in ("x", "cond"))
    return {"out": refs.model(case)(x, torch.tensor(inputs["t"], device=refs.device), cond)}


def structure_encoder(refs: References, case: str) -> dict[str, Any]:
    shape = [int(n) for n in re.findall(r"\d+", str(refs.cases[case]["inputs"]["x"]).split("[")[-1])]
    mean, logvar = refs.model(case)((refs.normal("ss_enc/x", *shape) > 0).float())
    return {"mean": mean, "logvar": logvar}


def structure_decoder(refs: References, case: str) -> dict[str, Any]:
    return {"out": refs.model(case)(refs.normal("ss_dec/z", *refs.cases[case]["inputs"]["z"]))}


def latent_flow(refs: References, case: str) -> dict[str, Any]:
    inputs = refs.cases[case]["inputs"]
    x = refs.sparse(case, "slat_flow/x", inputs["feats"][1])
    cond = refs.normal("slat_flow/cond", *inputs["cond"])
    return {"out": refs.model(case)(x, torch.tensor(inputs["t"], device=refs.device), cond).feats}


def latent_encoder(refs: References, case: str) -> dict[str, Any]:
    x = refs.sparse(case, "slat_enc/x", refs.cases[case]["args"]["in_channels"])
    mean, logvar = refs.model(case)(x)
    return {"mean": mean.feats, "logvar": logvar.feats}


def _decode(refs: References, case: str) -> tuple[Any, SparseTensor]:
    model = refs.model(case)
    return model, model(refs.sparse(case, "slat_dec/z", refs.cases[case]["args"]["latent_channels"]))


def _gaussian_clouds(refs: References, case: str) -> tuple[Tensor, list[GaussianCloud]]:
    model, out = _decode(refs, case)
    config = GaussianConfig.from_dict(refs.cases[case]["args"]["representation_config"])
    perturbation = model.offset_perturbation
    clouds = [
        GaussianCloud.from_features(
            feats, coords, resolution=out.resolution, config=config, offset_perturbation=perturbation
        )
        for coords, feats in out.samples()
    ]
    return perturbation, clouds


def gaussian_decoder(refs: References, case: str) -> dict[str, Any]:
    perturbation, clouds = _gaussian_clouds(refs, case)
    samples = [
        {
            "xyz": cloud.positions,
            "scaling": cloud.scales,
            "rotation": cloud.rotations,
            "opacity": cloud.opacities,
            "features_dc": cloud.features_dc[:, None],
        }
        for cloud in clouds
    ]
    return {"perturbation": perturbation, "samples": samples}


def gaussian_ply(refs: References, case: str) -> dict[str, Any]:
    columns = gaussian_columns(_gaussian_clouds(refs, "slat_decoder_gs")[1][0])
    by_name = dict(zip(GAUSSIAN_FIELDS, columns.unbind(1)))
    return {"fields": list(GAUSSIAN_FIELDS), "n": len(columns), "columns": by_name}


def radiance_decoder(refs: References, case: str) -> dict[str, Any]:
    _, out = _decode(refs, case)
    config = RadianceFieldConfig.from_dict(refs.cases[case]["args"]["representation_config"])
    fields = [
        RadianceField.from_features(feats, coords, resolution=out.resolution, config=config)
        for coords, feats in out.samples()
    ]
    samples = [
        {"position": f.positions, "trivec": f.trivec, "density": f.density, "features_dc": f.features_dc[:, :, None]}
        for f in fields
    ]
    return {"samples": samples}


def _invariants(coords: Tensor, feats: Tensor, resolution: int) -> dict[str, Any]:
    mesh = extract_mesh(coords, feats, resolution=resolution)
    if mesh.attributes is None:
        raise UnknownCaseError("a mesh without attributes has no reference")
    return mesh_invariants(mesh.vertices, mesh.faces, mesh.attributes)


def mesh_decoder(refs: References, case: str) -> dict[str, Any]:
    _, out = _decode(refs, case)
    shown = len(refs.cases[case]["voxel_feats"][0]["coords_first"])
    return {
        "voxel_feats": [
            {"n": len(coords), "coords_first": coords[:shown], "out": feats} for coords, feats in out.samples()
        ],
        "meshes": [_invariants(coords, feats, out.resolution) for coords, feats in out.samples()],
    }


def downsampling(refs: References, case: str) -> dict[str, Any]:
    x = refs.sparse(case, "layers/x", refs.cases[case]["out"]["shape"][1])
    return _sparse_result(refs, case, downsample(x))


def subdivision(refs: References, case: str) -> dict[str, Any]:
    x = refs.sparse(case, "layers/x", refs.cases[case]["out"]["shape"][1])
    return _sparse_result(refs, case, subdivide(x))


def _sparse_result(refs: References, case: str, out: SparseTensor) -> dict[str, Any]:
    return {"coords_first": out.coords[: len(refs.cases[case]["coords_first"])], "n": len(out), "out": out.feats}


def submanifold_convolution(refs: References, case: str) -> dict[str, Any]:
    shape = refs.cases[case]["param_names"]["conv.weight"]
    layer = refs.filled(SparseConv3d(shape[-1], shape[0]))
    return {"out": layer(refs.sparse(case, "layers/x", shape[-1])).feats}


def group_norm(refs: References, case: str) -> dict[str, Any]:
    width = refs.cases[case]["out"]["shape"][1]
    layer = refs.filled(SegmentGroupNorm(32, width))
    x = refs.sparse(case, "layers/x", width)
    return {"out": layer(x.feats, x.layout.segments)}


def flexicubes_shell(refs: References, case: str) -> dict[str, Any]:
    res = FLEXICUBES_RESOLUTION
    grid = torch.cartesian_prod(*[torch.arange(res, device=refs.device)] * 3)
    centre = (grid + 0.5) / res - 0.5
    coords = grid[(centre.norm(dim=1) - 0.33).abs() < 2 / res]
    corner = torch.arange(8, device=refs.device)
    offsets = torch.stack([corner & 1, corner >> 1 & 1, corner >> 2 & 1], 1)
    x, y, z = ((coords[:, None] + offsets) / res - 0.5).unbind(-1)
    sdf = torch.stack([x, y, z], -1).norm(dim=-1) - 0.33
    sdf = sdf + 0.05 * torch.sin(20 * x) * torch.sin(17 * y + 1) * torch.cos(13 * z)
    if refs.salt:
        sdf = sdf + 0.02 * torch.cos(31 * y)
    n = len(coords)
    parts = [("deform", 0.3, 24), ("weights", 0.3, 21), ("color", 1.0, 48)]
    feats = torch.cat([sdf, *(scale * refs.normal(f"flexi/{name}", n, k) for name, scale, k in parts)], 1)
    return {"n_cubes": n, "feat_channels": feats.shape[1], "mesh": _invariants(coords, feats, res)}


def samplers(refs: References, case: str) -> dict[str, Any]:
    entry = refs.cases[case]
    if entry["velocity"] != SAMPLER_VELOCITY or entry["neg_cond"] != "zeros":
        raise UnknownCaseError("another velocity or null condition than the known ones")
    noise = refs.normal("sampler/noise", *entry["inputs"]["noise"])
    cond = refs.normal("sampler/cond", *entry["inputs"]["cond"])

    def velocity(context: Tensor) -> Callable[[Tensor, float], Tensor]:
        return lambda x, t: 0.3 * x * (t / TIME_SCALE) + context.mean() - 0.1 * x**2

    results = {}
    for name in entry["cases"]:
        recipe = re.fullmatch(r"(euler|cfg|interval)_(\d+)(?:_rescale(\d+))?", name)
        if recipe is None:
            raise UnknownCaseError(f"unknown sampler {name}")
        kind, steps, rescale = recipe[1], int(recipe[2]), float(recipe[3] or 1)
        guided = velocity(cond)
        if kind == "cfg":
            guided = guide(guided, velocity(torch.zeros_like(cond)), strength=4.0)
        elif kind == "interval":
            guided = guide(guided, velocity(torch.zeros_like(cond)), strength=5.0, interval=(0.5, 1.0))
        results[name] = euler_sample(guided, noise, steps=steps, rescale_t=rescale)
    return {"cases": results}


def serialization(refs: References, case: str) -> dict[str, Any]:
    curves = [key for key in refs.cases[case] if key != "coords"]
    rows = len(refs.cases[case][curves[0]])
    counts, resolution = refs.grid("slat_flow")
    coords = golden.voxels(refs.salt + "slat_flow", counts, resolution)[:rows, 1:]
    return {curve: serialize(coords, curve) for curve in curves}


def view_sphere(refs: References, case: str) -> dict[str, Any]:
    n = refs.cases[case]["n"]
    return {"n": n, "yaw_pitch": uniform_view_angles(n)}


def preprocessed_picture(refs: References, case: str) -> dict[str, Any]:
    w, h, cx, cy, rx, ry = refs.cases[case]["dims"]
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    channels = [255 * x / w, 255 * y / h, (7 * (x + y)) % 256, 255 * inside]
    picture = Image.fromarray(np.stack(channels, -1).astype(np.uint8), "RGBA")
    return {"out": torch.from_numpy(frame_object(picture)[0].astype(np.float32))}


def camera(refs: References, case: str) -> dict[str, Any]:
    args = refs.cases[case]["args"]
    cameras = orbit_cameras([args["yaw"]], [args["pitch"]], radius=args["r"], fov_degrees=args["fov_deg"])
    return {"extrinsics": cameras.extrinsics[0], "intrinsics": cameras.intrinsics[0]}


Builder = Callable[[References, str], dict[str, Any]]

BY_CLASS: dict[str, Builder] = {
    "SparseStructureFlowModel": structure_flow,
    "SparseStructureEncoder": structure_encoder,
    "SparseStructureDecoder": structure_decoder,
    "SLatFlowModel": latent_flow,
    "SLatEncoder": latent_encoder,
    "SLatGaussianDecoder": gaussian_decoder,
    "SLatRadianceFieldDecoder": radiance_decoder,
    "SLatMeshDecoder": mesh_decoder,
}
BY_NAME: dict[str, Builder] = {
    "downsample2": downsampling,
    "submanifold_conv3": submanifold_convolution,
    "sparse_group_norm32": group_norm,
    "subdivide": subdivision,
    "gaussian_ply": gaussian_ply,
    "flexicubes_shell": flexicubes_shell,
    "samplers": samplers,
    "serialization": serialization,
    "sphere_hammersley": view_sphere,
    "preprocess_image": preprocessed_picture,
    "camera": camera,
}
TOLERANCES = {"preprocess_image": Tolerance(values=2.0, statistics=0.2, absolute=True)}


def rebuild(refs: References, case: str) -> dict[str, Any]:
    """What this library computes for a case, shaped as the reference; `UnknownCaseError` without a recipe."""
    builder = BY_CLASS.get(refs.cases[case].get("cls", "").removeprefix("Elastic")) or BY_NAME.get(case)
    if builder is None:
        raise UnknownCaseError("no recipe for this case")
    with torch.no_grad():
        return _on_cpu(builder(refs, case))


def _on_cpu(computed: Any) -> Any:
    if isinstance(computed, Tensor):
        return computed.cpu()
    if isinstance(computed, Mapping):
        return {key: _on_cpu(value) for key, value in computed.items()}
    return [_on_cpu(value) for value in computed] if isinstance(computed, list) else computed

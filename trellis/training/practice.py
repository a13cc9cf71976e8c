"""A data folder of the shapes that a model was trained on, so that it does not forget them while it learns others.

`python -m trellis.training.practice --output_dir practice`, then `train --finetune nano --data_dir data,practice`.
"""

import argparse
import hashlib
import logging
import sys
from pathlib import Path

import torch
from torch import nn

from trellis.dataset.latent_statistics import write_statistics
from trellis.dataset.layout import CONDITIONED, LATENT, STRUCTURE, VOXELIZED, DataFolder, write_arrays, write_voxels
from trellis.dataset.pictures import write_pictures
from trellis.dataset.prepare import encoding_model, model_columns
from trellis.dataset.records import COUNT, KEY, build_metadata
from trellis.errors import InvalidInputError
from trellis.families.trellis_family import network_stem
from trellis.geometry.similarity import Similarity
from trellis.models import load_model
from trellis.opening import open_model
from trellis.runtime import DEVICES, Runtime
from trellis.sparse import SparseTensor
from trellis.training.data import training_families
from trellis.training.evaluate import data_settings
from trellis.training.procedural import (
    ObjectBatch,
    occupancy,
    occupied_coords,
    render_pictures,
    sample_objects,
    voxel_features,
)
from trellis.training.program import program

_FIRST_SEED = 1 << 30  # far from those of the embedded model's own runs, below those that only measure
_BATCH, _THREADS = 32, 8

logger = logging.getLogger(__name__)


class Practice:
    """Writes objects of the families that a model was trained on, as the model's encoders know them."""

    def __init__(self, name: str, output: Path, runtime: Runtime) -> None:
        """Raises CheckpointError for a model that was not trained on such objects."""
        model = encoding_model(open_model(name, runtime=runtime))
        location = model.location
        assert location is not None
        self.data, self.device, self.folder = data_settings(location.folder), runtime.device, DataFolder(output)
        self.columns = model_columns(model)
        self._encoders: dict[str, nn.Module] = {
            role: load_model(network_stem(location, role)).to(runtime.device).requires_grad_(False)
            for role in ("sparse_structure_encoder", "slat_encoder")
        }

    def write(self, count: int, *, views: int) -> None:
        """Make `count` objects with so many pictures each. Raises InvalidInputError for none of either."""
        if count < 1 or views < 1:
            raise InvalidInputError("There must be at least one object (--count) and one picture (--num_views).")
        families, made = training_families(self.data), 0
        for seeds in torch.arange(_FIRST_SEED, _FIRST_SEED + count).split(_BATCH):
            self._write(sample_objects(seeds, families, device=self.device), views)
            made += len(seeds)
            logger.info("%d of %d objects", made, count)
        write_statistics(self.folder, self.columns[LATENT])

    def _write(self, objects: ObjectBatch, views: int) -> None:
        resolution, rows = self.data.resolution, {}
        dense = occupancy(objects, resolution=resolution)
        coords = occupied_coords(dense)
        features = voxel_features(objects, coords, resolution=resolution)
        packed = SparseTensor.create(features, coords, resolution=resolution, batch_size=len(objects))
        structures = self._encoders["sparse_structure_encoder"](dense[:, None].float())[0]
        latents = self._encoders["slat_encoder"](packed)[0]
        pictures = render_pictures(objects, views=views, size=2 * self.data.picture_size, dense=dense, supersampling=2)
        for number, (seed, name, (places, latent)) in enumerate(
            zip(objects.seeds.tolist(), objects.names(), latents.samples(), strict=True)
        ):
            sha = hashlib.sha256(f"{name} {seed}".encode()).hexdigest()
            voxels = places.cpu().numpy()
            write_voxels(self.folder.path(VOXELIZED, sha), voxels, resolution)
            path = self.folder.path(self.columns[LATENT], sha)
            write_arrays(path, feats=latent.float().cpu().numpy(), coords=voxels.astype("uint8"))
            path = self.folder.path(self.columns[STRUCTURE], sha)
            write_arrays(path, mean=structures[number].float().cpu().numpy())
            write_pictures(
                self.folder.path(CONDITIONED, sha),
                pictures.images[number].cpu(),
                pictures.cameras[number * views : (number + 1) * views].to(torch.device("cpu")),
                Similarity(),
                threads=_THREADS,
                renderer="trellis-desktop procedural",
            )
            rows[sha] = {KEY: sha, "file_identifier": f"{name}-{seed}", COUNT: str(len(voxels))}
        build_metadata(self.folder, rows)


@program
def main(arguments: list[str] | None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="a model that was trained on such shapes (default: nano)")
    parser.add_argument("--output_dir", type=Path, required=True, help="the data folder")
    parser.add_argument("--count", type=int, default=660, help="objects (default: 660)")
    parser.add_argument("--num_views", type=int, default=4, help="pictures an object (default: 4)")
    parser.add_argument("--device", default="auto", help=f"one of {', '.join(DEVICES)}")
    chosen = parser.parse_args(arguments)
    runtime = Runtime.detect(device=chosen.device, offline=True)
    with torch.inference_mode():
        Practice(chosen.model, chosen.output_dir, runtime).write(chosen.count, views=chosen.num_views)


if __name__ == "__main__":
    sys.exit(main())

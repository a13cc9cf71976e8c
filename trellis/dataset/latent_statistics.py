"""Mean and spread of the latents of a data folder, which flows are trained on without."""

import random
import zipfile

import numpy as np

from trellis.dataset.layout import NORMALIZATION, DataFolder, write_json
from trellis.errors import InvalidInputError

SAMPLES = 50_000


def write_statistics(folder: DataFolder, column: str, *, samples: int = SAMPLES) -> int:
    """Write the `stats.json` of a column of latents over all voxels of at most `samples` objects; returns how many.

    Raises InvalidInputError for a file of latents that cannot be read.
    """
    shas = sorted(folder.made(column))
    if len(shas) > samples:
        shas = sorted(random.Random(0).sample(shas, samples))
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for sha in shas:
        feats = read_arrays(folder, column, sha)["feats"].astype(np.float64)
        count, total, squares = count + len(feats), total + feats.sum(0), squares + (feats**2).sum(0)
    if count:
        mean = total / count
        spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
        write_json(folder.folder(column) / NORMALIZATION, {"mean": mean.tolist(), "std": spread.tolist()})
    return len(shas)


def read_arrays(folder: DataFolder, column: str, sha: str) -> dict[str, np.ndarray]:
    """The arrays of an object's .npz file by name; raises InvalidInputError for one that cannot be read."""
    path = folder.path(column, sha)
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"{path} cannot be read ({error}): remove it and run the step again.") from error

"""The Hunyuan3D-2 family: shapes of its own networks, coloured by a TRELLIS model; its models, files and licence."""

from pathlib import Path

from trellis.errors import CheckpointError
from trellis.families.family import (
    GENERATE,
    PICTURES,
    Licence,
    ModelDescription,
    ModelFamily,
    NeededFile,
    PublishedModel,
    SupportingModel,
)
from trellis.families.hunyuan_config import CONFIG_FILE, DECODER_FOLDERS, read_config
from trellis.models.vecset_sizes import WEIGHTS_FILE

LICENCE = Licence(
    "tencent-hunyuan-3d-2.0",
    "Tencent Hunyuan 3D 2.0 Community License",
    (
        "It grants no rights in the European Union, the United Kingdom and South Korea, neither for the model nor for "
        "what is made with it.",
        "Neither the model nor what it makes may be used to train or improve another model.",
        "A product with more than one million users a month needs Tencent's leave.",
    ),
    "Powered by Tencent Hunyuan",
)
BIG, MINI, SEVERAL = "tencent/Hunyuan3D-2", "tencent/Hunyuan3D-2mini", "tencent/Hunyuan3D-2mv"
MINI_DECODER, DECODER = DECODER_FOLDERS[True], DECODER_FOLDERS[False]


def _model(repository: str, subfolder: str, size: int, decoder: str) -> PublishedModel:
    return PublishedModel((repository,), size, (PICTURES,), (decoder,), LICENCE.title, subfolder)


def _decoder(name: str, repository: str) -> SupportingModel:
    """A faster decoder, which is looked for beside the models."""
    files = (f"{name}/{CONFIG_FILE}", f"{name}/{WEIGHTS_FILE}")
    return SupportingModel((repository,), files, 410_000_000, weights=files[-1], folder=".")


# The first is what most people want: the smallest, in five steps.
PUBLISHED = {
    "Hunyuan3D-2mini-turbo": _model(MINI, "hunyuan3d-dit-v2-mini-turbo", 3_820_000_000, MINI_DECODER),
    "Hunyuan3D-2-turbo": _model(BIG, "hunyuan3d-dit-v2-0-turbo", 4_930_000_000, DECODER),
    "Hunyuan3D-2": _model(BIG, "hunyuan3d-dit-v2-0", 4_930_000_000, DECODER),
    "Hunyuan3D-2mv-turbo": _model(SEVERAL, "hunyuan3d-dit-v2-mv-turbo", 4_930_000_000, DECODER),
}
SUPPORTING = {DECODER: _decoder(DECODER, BIG), MINI_DECODER: _decoder(MINI_DECODER, MINI)}


def describe(path: Path) -> ModelDescription:
    """What the model of a config.yaml is; raises CheckpointError when that is missing or wrong."""
    config = read_config(path)
    return ModelDescription(
        inputs=(PICTURES,),
        operations=(GENERATE,),
        representations=("gaussians", "mesh"),
        files=(NeededFile(WEIGHTS_FILE),),
        supporting=(config.decoder_folder,),
        options=("surface_resolution", "texture_model", *(["views"] if config.views else [])),
        presets=f"hunyuan{'-mini' * config.is_mini}{'-turbo' * (config.kind == 'turbo')}",
    )


def is_listed(folder: Path) -> bool:
    """Whether a folder with a config.yaml, a common name, holds a model: its weights are there, and it reads as one."""
    try:
        read_config(folder / CONFIG_FILE)
    except CheckpointError:
        return False
    return (folder / WEIGHTS_FILE).is_file()


HUNYUAN = ModelFamily(
    description_file=CONFIG_FILE,
    describe=describe,
    opener="trellis.shape_pipeline:open_shape_pipeline",
    published=PUBLISHED,
    supporting=SUPPORTING,
    licence=LICENCE,
    is_listed=is_listed,
)

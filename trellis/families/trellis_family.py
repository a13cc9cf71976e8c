"""The TRELLIS family: its published models, what its description file says, and where its networks are."""

from pathlib import Path

from trellis.errors import CheckpointError
from trellis.families.family import (
    GENERATE,
    PICTURES,
    TEXT,
    ModelDescription,
    ModelFamily,
    NeededFile,
    PublishedModel,
    SupportingModel,
)
from trellis.families.location import ModelLocation
from trellis.models.pipeline_config import PIPELINE_FILE, PipelineConfig

NANO = "nano"
NANO_FOLDER = Path(__file__).parents[2] / "assets" / "models" / "trellis-nano"
DINO = "DINOv2"
CLIP = "CLIP"
WEIGHTS = "model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
ENDINGS = (".json", ".safetensors")  # of the two files of a network
# The one list of published models. They have moved before: add a new place at the front of its entry.
PUBLISHED = {
    "TRELLIS-image-large": PublishedModel(
        ("microsoft/TRELLIS-image-large", "jetx/TRELLIS-image-large"), 3_006_922_800, (PICTURES,), (DINO,)
    ),
    "TRELLIS-text-base": PublishedModel(("microsoft/TRELLIS-text-base",), 700_103_232, (TEXT,), (CLIP,)),
    "TRELLIS-text-large": PublishedModel(("microsoft/TRELLIS-text-large",), 2_284_091_456, (TEXT,), (CLIP,)),
    "TRELLIS-text-xlarge": PublishedModel(("microsoft/TRELLIS-text-xlarge",), 4_127_342_656, (TEXT,), (CLIP,)),
}
SUPPORTING = {
    DINO: SupportingModel(
        ("facebook/dinov2-with-registers-large",), ("config.json", WEIGHTS), 1_217_500_000, weights=WEIGHTS
    ),
    CLIP: SupportingModel(
        ("openai/clip-vit-large-patch14",),
        ("config.json", WEIGHTS),
        1_714_000_000,
        weights=WEIGHTS,
        optional=TOKENIZER,
    ),
}


def describe(path: Path) -> ModelDescription:
    """What the model of a pipeline.json is; raises CheckpointError when that is missing or wrong."""
    config = PipelineConfig.read(path)
    image, text = config.image_cond_model, config.text_cond_model
    own = image["path"] if isinstance(image, dict) else text  # no folder where a published encoder is named
    supporting = (DINO,) if isinstance(image, str) else (CLIP,) if text in SUPPORTING[CLIP].repositories else ()
    return ModelDescription(
        inputs=(TEXT,) if image is None else (PICTURES,),
        operations=(GENERATE,),
        representations=config.representations,
        files=tuple(file for stem in config.models.values() for file in network_files(stem)),
        folders=() if own is None else (own,),
        supporting=supporting,
    )


TRELLIS = ModelFamily(
    name="trellis",
    description_file=PIPELINE_FILE,
    describe=describe,
    opener="trellis.pipeline:open_trellis",
    embedded={NANO: NANO_FOLDER},
    published=PUBLISHED,
    supporting=SUPPORTING,
)


def network_files(stem: str) -> tuple[NeededFile, ...]:
    """The files of a network; a stem `owner/name/ckpts/...` is in another repository."""
    parts = stem.split("/")
    repository, inner = (None, stem) if len(parts) < 4 else ("/".join(parts[:2]), "/".join(parts[2:]))
    return tuple(NeededFile(inner + ending, repository) for ending in ENDINGS)


def network_stem(model: ModelLocation, role: str) -> Path:
    """Where a network of a model is, without the endings of its files.

    Raises CheckpointError when the model lacks it, FetchError when it must be fetched first.
    """
    models = PipelineConfig.read(model.description).models
    if role not in models:
        raise CheckpointError(f"{model.name} has no {role!r}; it has {', '.join(models)}.")
    description, _ = (model.needed(file) for file in network_files(models[role]))
    return description.with_name(description.name.removesuffix(ENDINGS[0]))

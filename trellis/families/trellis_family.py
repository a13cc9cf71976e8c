"""The TRELLIS family: its published models, what its description file says, and where its networks are."""

from dataclasses import dataclass
from pathlib import Path

from trellis.errors import CheckpointError
from trellis.families.family import (
    EDIT,
    ENCODE,
    GENERATE,
    PICTURES,
    RETEXTURE,
    TEXT,
    VARIANT,
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
ENCODER_FOLDER = "encoders"


@dataclass(frozen=True)
class PublishedEncoder:
    """An encoder that published models have beside the decoder `partner`, whose name begins as `beginning`."""

    name: str
    megabytes: int
    partner: str
    beginning: str


ENCODERS = {
    "sparse_structure_encoder": PublishedEncoder(
        "ss_enc_conv3d_16l8_fp16", 119, "sparse_structure_decoder", "ss_dec_conv3d_16l8"
    ),
    "slat_encoder": PublishedEncoder(
        "slat_enc_swin8_B_64l8_fp16", 173, "slat_decoder_mesh", "slat_dec_mesh_swin8_B_64l8"
    ),
}
FEW_STEPS = 8  # at most: of such a model no preset asks for other steps, which would be more
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
    edits = all(encoder_stem(config, role, path.parent) for role in ENCODERS)
    # Published encoders see pictures of a mesh, for which a text model has no network.
    encodes = edits and (image is not None or (path.parent / ENCODER_FOLDER).is_dir())
    own = image["path"] if isinstance(image, dict) else text  # no folder where a published encoder is named
    supporting = (DINO,) if isinstance(image, str) else (CLIP,) if text in SUPPORTING[CLIP].repositories else ()
    return ModelDescription(
        inputs=(TEXT,) if image is None else (PICTURES,),
        operations=(GENERATE, VARIANT, RETEXTURE, *([EDIT] if edits else []), *([ENCODE] if encodes else [])),
        representations=config.representations,
        files=tuple(file for stem in config.models.values() for file in network_files(stem)),
        folders=() if own is None else (own,),
        supporting=supporting,
        presets="trellis-few-steps" if _steps(config) <= FEW_STEPS else "trellis",
    )


def _steps(config: PipelineConfig) -> int:
    return max(config.structure_sampler.steps, config.latent_sampler.steps)


TRELLIS = ModelFamily(
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


def encoder_stem(config: PipelineConfig, role: str, folder: Path) -> str | None:
    """The stem of an encoder, which generating does not need: as its pipeline.json says, in its folder of encoders, or
    where the published models have it, beside the decoder of the same name; None where the model in `folder` has none.
    """
    if role in config.models:
        return config.models[role]
    if (folder / ENCODER_FOLDER / f"{role}{ENDINGS[0]}").is_file():
        return f"{ENCODER_FOLDER}/{role}"
    known = ENCODERS[role]
    place, _, decoder = config.models.get(known.partner, "").rpartition("/")
    return f"{place}/{known.name}" if place and decoder.startswith(known.beginning) else None


def encoder_files(model: ModelLocation, role: str) -> tuple[NeededFile, ...]:
    """The files of an encoder, also where they must be fetched first; none where the model has it not."""
    stem = encoder_stem(PipelineConfig.read(model.description), role, model.folder)
    return () if stem is None else network_files(stem)


def network_stem(model: ModelLocation, role: str) -> Path:
    """Where a network of a model is, without the endings of its files.

    Raises CheckpointError when the model lacks it, FetchError when it must be fetched first.
    """
    config = PipelineConfig.read(model.description)
    stem = encoder_stem(config, role, model.folder) if role in ENCODERS else config.models.get(role)
    if stem is None:
        raise CheckpointError(f"{model.name} has no {role!r}; it has {', '.join(config.models)}.")
    description, _ = (model.needed(file) for file in network_files(stem))
    return description.with_name(description.name.removesuffix(ENDINGS[0]))

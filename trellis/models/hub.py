"""Where models come from: the embedded one, folders, and repositories on the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trellis.errors import CheckpointError, FetchError
from trellis.models.pipeline_config import PIPELINE_FILE, PipelineConfig
from trellis.runtime import ModelFiles

NANO = "nano"
NANO_LICENCE = "MIT"  # with the program
NANO_FOLDER = Path(__file__).parents[2] / "assets" / "models" / "trellis-nano"


@dataclass(frozen=True)
class PublishedModel:
    """Repositories that hold the same files, tried in order, and the bytes of weights that generating needs.

    condition: which of `SUPPORTING` reads its pictures or texts; licence: that of the weights.
    """

    repositories: tuple[str, ...]
    size_bytes: int
    condition: str
    licence: str = "MIT"


@dataclass(frozen=True)
class SupportingModel:
    """A model that is no pipeline: repositories that hold it, tried in order, the files needed and their bytes."""

    repositories: tuple[str, ...]
    files: tuple[str, ...]
    size_bytes: int


# The one list of published models. They have moved before: add a new place at the front of its entry.
PUBLISHED: Mapping[str, PublishedModel] = {
    "TRELLIS-image-large": PublishedModel(
        ("microsoft/TRELLIS-image-large", "jetx/TRELLIS-image-large"), 3_006_922_800, "DINOv2"
    ),
    "TRELLIS-text-base": PublishedModel(("microsoft/TRELLIS-text-base",), 700_103_232, "CLIP"),
    "TRELLIS-text-large": PublishedModel(("microsoft/TRELLIS-text-large",), 2_284_091_456, "CLIP"),
    "TRELLIS-text-xlarge": PublishedModel(("microsoft/TRELLIS-text-xlarge",), 4_127_342_656, "CLIP"),
}
SUPPORTING_WEIGHTS = "model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
SUPPORTING: Mapping[str, SupportingModel] = {
    "DINOv2": SupportingModel(
        ("facebook/dinov2-with-registers-large",), ("config.json", SUPPORTING_WEIGHTS), 1_217_500_000
    ),
    "CLIP": SupportingModel(
        ("openai/clip-vit-large-patch14",), ("config.json", SUPPORTING_WEIGHTS, *TOKENIZER), 1_714_000_000
    ),
}


@dataclass(frozen=True)
class ModelLocation:
    """A model by name, either in a local folder or in repositories that are tried in order."""

    name: str
    runtime: ModelFiles
    local: Path | None = None
    repositories: tuple[str, ...] = ()

    @cached_property
    def config(self) -> PipelineConfig:
        """The model's pipeline.json; raises CheckpointError when it is missing or wrong."""
        return PipelineConfig.read(self.file(PIPELINE_FILE))

    @cached_property
    def folder(self) -> Path:
        """The folder of pipeline.json: the local one, or the snapshot in the hub's cache."""
        return self.local if self.local is not None else self.file(PIPELINE_FILE).parent

    @property
    def is_demo(self) -> bool:
        """The small embedded model."""
        return self.name == NANO

    def file(self, path: str) -> Path:
        """A file of the model on this machine; raises CheckpointError, or FetchError where it must be fetched first."""
        if self.local is None:
            found = cached_file(self.repositories, path)
            if found is None:
                here = "offline: only the local cache was searched" if self.runtime.offline else "not on this machine"
                raise FetchError(
                    f"{path} of {' or '.join(self.repositories)} cannot be had ({here}). "
                    f"Fetch the model with: models get {self.name}."
                )
            return found
        if not (self.local / path).is_file():
            raise CheckpointError(f"{self.local / path} is missing.")
        return self.local / path

    def network(self, role: str) -> tuple[Path, Path]:
        """The .json and .safetensors files of a role; raises CheckpointError when the model lacks it."""
        if role not in self.config.models:
            raise CheckpointError(f"{self.name} has no {role!r}; it has {', '.join(self.config.models)}.")
        stem = self.config.models[role]
        parts = Path(stem).parts
        is_own = (self.local is not None and (self.local / f"{stem}.json").is_file()) or len(parts) < 4
        if is_own:
            return self.file(f"{stem}.json"), self.file(f"{stem}.safetensors")
        owner = resolve_model("/".join(parts[:2]), runtime=self.runtime)
        inner = "/".join(parts[2:])
        return owner.file(f"{inner}.json"), owner.file(f"{inner}.safetensors")


def resolve_model(name: str, *, runtime: ModelFiles) -> ModelLocation:
    """Find a model: "nano", a folder with a pipeline.json, a published name, or a hub repository `owner/name`.

    Folders are looked for as given and in `runtime.model_folder`. Nothing is fetched yet. Raises CheckpointError.
    """
    if name == NANO:
        if not (NANO_FOLDER / PIPELINE_FILE).is_file():
            raise CheckpointError(f"The embedded model is not installed: {NANO_FOLDER / PIPELINE_FILE} is missing.")
        return ModelLocation(name, runtime, local=NANO_FOLDER)
    for folder in _local_candidates(name, runtime):
        if (folder / PIPELINE_FILE).is_file():
            return ModelLocation(name, runtime, local=folder)
    if Path(name).is_dir():
        raise CheckpointError(f"{name} is no model folder: it has no {PIPELINE_FILE}.")
    short = name.split("/")[-1]
    known = PUBLISHED[short].repositories if short in PUBLISHED else ()
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        others = tuple(repository for repository in known if repository != name)
        return ModelLocation(name, runtime, repositories=(name, *(others if name in known else ())))
    if name in PUBLISHED:
        return ModelLocation(name, runtime, repositories=known)
    raise CheckpointError(
        f"Unknown model {name!r}: give {NANO!r}, a folder with a {PIPELINE_FILE}, one of {', '.join(PUBLISHED)}, "
        "or a hub repository as owner/name."
    )


def _local_candidates(name: str, runtime: ModelFiles) -> list[Path]:
    folders = [Path(name).expanduser()]
    if runtime.model_folder is not None:
        folders += [runtime.model_folder / name, runtime.model_folder / name.split("/")[-1]]
    return folders


def cached_file(repositories: tuple[str, ...], path: str) -> Path | None:
    """The file in the hub's local cache, without touching the network."""
    from huggingface_hub import try_to_load_from_cache

    for repository in repositories:
        found = try_to_load_from_cache(repository, path)
        if isinstance(found, str):
            return Path(found)
    return None

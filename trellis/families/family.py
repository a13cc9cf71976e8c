"""What a family of models states, so that its models are found, listed, fetched and opened."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VIEWS = ("front", "left", "back", "right")  # sides of an object that pictures show, for models that ask for them
PICTURES, TEXT = "pictures", "text"  # what a model can be given
GENERATE, VARIANT, EDIT, RETEXTURE, ENCODE = "generate", "variant", "edit", "retexture", "encode"


@dataclass(frozen=True)
class Licence:
    """Terms of weights that a person accepts before a model is fetched or used.

    name: what they are accepted by; title: what they are called; terms: what they ask for, in plain sentences; notice:
    the line that everything made with the models carries.
    """

    name: str
    title: str
    terms: tuple[str, ...]
    notice: str


@dataclass(frozen=True)
class NeededFile:
    """A file of a model by its path in its repository; None is the model's own."""

    path: str
    repository: str | None = None

    @property
    def place(self) -> str:
        """Its path in the model's folder: below the name of its repository where that is another one."""
        return self.path if self.repository is None else f"{self.repository}/{self.path}"


@dataclass(frozen=True)
class ModelDescription:
    """What one model takes, makes and needs.

    inputs: of PICTURES and TEXT; operations: such as GENERATE; representations: the fields of an `Asset` that it makes.
    files: without them it cannot be opened; folders: their files are fetched too; supporting: names of other models
    that it works with, of its family's `supporting`. options: of a request that other models do not take; presets: the
    table of memory presets that hold for it (`trellis.app.presets.TABLES`).
    """

    inputs: tuple[str, ...]
    operations: tuple[str, ...]
    representations: tuple[str, ...]
    files: tuple[NeededFile, ...] = ()
    folders: tuple[str, ...] = ()
    supporting: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    presets: str = "trellis"


@dataclass(frozen=True)
class PublishedModel:
    """Repositories that hold the same files, tried in order, and the bytes of weights that generating needs.

    inputs and supporting as in its description, which is not here before the model is fetched; licence of the weights;
    subfolder: where they are in a repository of several models, which none of them is called by.
    """

    repositories: tuple[str, ...]
    size_bytes: int
    inputs: tuple[str, ...]
    supporting: tuple[str, ...] = ()
    licence: str = "MIT"
    subfolder: str = ""

    def title(self, short: str) -> str:
        """What the model of this short name is called among others."""
        return short if self.subfolder else self.repositories[0]

    def named(self, name: str, short: str) -> bool:
        """Whether a name means this model."""
        return name == short or (name in self.repositories and not self.subfolder)


@dataclass(frozen=True)
class SupportingModel:
    """A model that no asset can be made with by itself: its repositories, tried in order, files and bytes.

    It is here where the file `weights` is; `optional` files are fetched from repositories that have them. folder: its
    own among the models, by default that of its first repository.
    """

    repositories: tuple[str, ...]
    files: tuple[str, ...]
    size_bytes: int
    weights: str
    optional: tuple[str, ...] = ()
    folder: str | None = None

    @property
    def place(self) -> str:
        """Where it is in the folder of models."""
        return self.folder or self.repositories[0]


@dataclass(frozen=True)
class ModelFamily:
    """A kind of models: a folder with the file `description_file` holds one of them.

    describe: what the model of a description file is, or CheckpointError. opener: "module:function", called with the
    model's location, `runtime` and `plan`, which returns a `trellis.opening.Pipeline`; it is imported when a model is
    opened, and networks with it. embedded: folders of models that come with the program, by name. licence: what must be
    accepted first; is_listed: whether a folder with the description file is told of as a model.
    """

    description_file: str
    describe: Callable[[Path], ModelDescription]
    opener: str
    embedded: Mapping[str, Path] = field(default_factory=dict)
    published: Mapping[str, PublishedModel] = field(default_factory=dict)
    supporting: Mapping[str, SupportingModel] = field(default_factory=dict)
    licence: Licence | None = None
    is_listed: Callable[[Path], bool] = lambda folder: True


def publication(name: str, families: Sequence[ModelFamily]) -> tuple[str, ModelFamily] | None:
    """The short name of a published model, named by that or by one of its repositories, and its family.

    Another owner's repository of the same name is another model.
    """
    for family in families:
        for short, model in family.published.items():
            if model.named(name, short):
                return short, family
    return None

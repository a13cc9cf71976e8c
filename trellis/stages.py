"""The one table of stages: what can be reported, what people read of it, and its share of a job's time."""

import enum


class Stage(enum.StrEnum):
    """A stage, by its name in records and in the interface.

    caption: for people, in English; what languages translate. share: of a generation's time, about, in hundredths,
    between a small model on a CPU and a large one on a card; 0 for what a generation does not have. Stages stand in the
    order in which a job comes to them.
    """

    caption: str
    share: int

    def __new__(cls, name: str, caption: str, share: int) -> "Stage":
        member = str.__new__(cls, name)
        member._value_, member.caption, member.share = name, caption, share
        return member

    FETCH = "download", "Fetching", 0  # has a bar of its own: nobody knows how long a network takes
    OPEN = "load model", "Opening the model", 5
    PREPARE = "prepare", "Preparing the pictures", 3
    ENCODE = "encode", "Reading the input", 2
    STRUCTURE = "structure", "Structure", 15
    SURFACE = "surface", "Finding the surface", 0  # of models whose structure is no grid of voxels
    LATENT = "latent", "Surface and colours", 20
    DECODE = "decode", "Decoding", 7
    EXPORT = "export", "Mesh", 20
    TEXTURE = "texture", "Texture", 8
    PICTURE = "picture", "Picture onto the texture", 8
    REFINE = "refine", "Refining the texture", 2
    NORMAL_MAP = "normal_map", "Normal map", 2
    PREVIEW = "preview", "Preview", 8

    # A mesh file on its way to voxels and features.
    VOXELIZE = "voxelize", "Finding the voxels", 0
    SOLID = "solid", "Closing the surface", 0
    VIEWS = "views", "Looking from all sides", 0
    FEATURES = "features", "Reading the surface", 0

    TRAIN = "train", "Training", 0

    @property
    def begin(self) -> float:
        """The share of a generation, from 0 to 1, that is done when this stage begins."""
        before = list(Stage)[: list(Stage).index(self)]
        return sum(stage.share for stage in before) / 100

    @property
    def end(self) -> float:
        """The share of a generation, from 0 to 1, that is done with this stage."""
        return self.begin + self.share / 100

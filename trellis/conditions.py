"""What steers a generation: pictures or a text, which an encoder of the model turns into tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trellis.conditioning import (
    ImageEncoder,
    PreparedImage,
    TextEncoder,
    encoder_image_size,
    prepare_image,
    stack_pictures,
)
from trellis.conditioning.view import Window
from trellis.errors import InvalidInputError
from trellis.families.family import PICTURES, TEXT
from trellis.memory import Effort, ModelHost
from trellis.progress import Progress
from trellis.runtime import Runtime
from trellis.stages import Stage

ENCODER_ROLE = "encoder"


@dataclass(frozen=True)
class Condition:
    """Tokens [1, L, C] of each picture, or of the text; the null condition [1, L, C], which says nothing.

    pictures are those of the tokens, as the encoder saw them.
    """

    tokens: tuple[Tensor, ...]
    null: Tensor
    pictures: tuple[PreparedImage, ...] = ()

    @classmethod
    def of_pictures(cls, tokens: Sequence[Tensor], pictures: Sequence[PreparedImage] = ()) -> "Condition":
        """That of pictures, whose null condition is zeros."""
        return cls(tuple(tokens), torch.zeros_like(tokens[0]), tuple(pictures))


class PictureReader:
    """One picture or several of the same object, for the image encoder that a model names."""

    takes = PICTURES  # of its family's inputs

    def __init__(self, reference: str | dict[str, Any], folder: Path, runtime: Runtime) -> None:
        self._reference, self._folder, self._runtime = reference, folder, runtime

    def load(self) -> nn.Module:
        """The image encoder, for the host to lend as ENCODER_ROLE; raises CheckpointError."""
        return ImageEncoder.from_pretrained(self._reference, self._folder, self._runtime)

    def read(
        self, source: Any, host: ModelHost, *, background: str, progress: Progress, window: Window | None = None
    ) -> Condition:
        """Read, cut out, frame and encode `trellis.conditioning.pictures.PictureSource`s; raises InvalidInputError.

        window: of the first picture, see `trellis.conditioning.framing.frame_object`.
        """
        sources: list[Any] = list(source) if isinstance(source, (list, tuple)) else [source]
        if not sources:
            raise InvalidInputError("Give at least one picture.")
        size = encoder_image_size(self._reference)
        prepared = [
            prepare_image(
                sources[i], size=size, background=background, runtime=self._runtime, window=None if i else window
            )
            for i in progress.steps(Stage.PREPARE, len(sources))
        ]

        def work(encoder: ImageEncoder, effort: Effort) -> list[Tensor]:
            steps = progress.steps(Stage.ENCODE, len(prepared))
            return [encoder(stack_pictures([prepared[i]], effort.device)).to(self._runtime.device) for i in steps]

        return Condition.of_pictures(host.run(ENCODER_ROLE, work), prepared)


class TextReader:
    """A prompt, for the text encoder that a model names; the empty prompt is the null condition."""

    takes = TEXT

    def __init__(self, reference: str, folder: Path, runtime: Runtime) -> None:
        self._reference, self._folder, self._runtime = reference, folder, runtime

    def load(self) -> nn.Module:
        """The text encoder, for the host to lend as ENCODER_ROLE; raises CheckpointError."""
        return TextEncoder.from_pretrained(self._reference, self._folder, self._runtime)

    def read(
        self, source: Any, host: ModelHost, *, background: str, progress: Progress, window: Window | None = None
    ) -> Condition:
        """Encode a prompt; it has neither background nor window."""
        if not isinstance(source, str) or not source.strip():
            raise InvalidInputError("This model takes a text: give a prompt.")

        def work(encoder: TextEncoder, effort: Effort) -> Tensor:
            return encoder([source.strip(), ""]).to(self._runtime.device)

        for _ in progress.steps(Stage.ENCODE, 1):
            both = host.run(ENCODER_ROLE, work)
        return Condition((both[:1],), both[1:])


ConditionReader = PictureReader | TextReader

"""Options that make sampling faster and change its result a little."""

from dataclasses import dataclass

from trellis.errors import InvalidInputError


@dataclass(frozen=True)
class Shortcuts:
    """What sampling may leave out; the defaults leave out nothing.

    guidance_every: the null velocity is evaluated at every so many guided steps (see `guide`); velocity_every: the
    flow is evaluated at every so many steps (see `extrapolate`); guidance_from: guidance only for times t (0..1, 1 is
    noise) from here on, None for the model's own interval - a higher value makes the last steps free of guidance.
    """

    guidance_every: int = 1
    velocity_every: int = 1
    guidance_from: float | None = None

    def __post_init__(self) -> None:
        for name in ("guidance_every", "velocity_every"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.guidance_from is not None and not 0 <= self.guidance_from <= 1:
            raise InvalidInputError(f"guidance_from must be between 0 and 1, not {self.guidance_from}.")

    def interval(self, own: tuple[float, float]) -> tuple[float, float]:
        """The guidance interval instead of the model's `own`."""
        low, high = own
        return (low, high) if self.guidance_from is None else (min(self.guidance_from, high), high)

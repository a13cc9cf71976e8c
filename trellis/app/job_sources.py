"""What a job is made of: pictures of one object or a prompt, on a model that takes them."""

from dataclasses import dataclass

from trellis.errors import InvalidInputError, did_you_mean

MAX_PICTURES = 64
LONGEST_PROMPT = 1000


@dataclass(frozen=True)
class Models:
    """The models that jobs may ask for, first the one the program is started with.

    Those `of_texts` take a prompt, the others pictures. Those `to_fetch` are not here yet: nobody gets one unasked.
    """

    names: tuple[str, ...]
    of_texts: frozenset[str] = frozenset()
    to_fetch: frozenset[str] = frozenset()

    @property
    def default(self) -> str:
        return self.names[0]

    def choose(self, model: str | None, *, prompt: str | None, pictures: int) -> str:
        """The model for so many pictures or a prompt: `model` if that is stated, else the first here that takes them.

        Raises InvalidInputError, naming the field, for pictures, a prompt or a model that do not go together.
        """
        if model is not None and model not in self.names:
            message = f"model must be one of {', '.join(self.names)}, not {model[:80]!r}."
            raise InvalidInputError(message + did_you_mean(model, self.names), field="model")
        self._check_extent(prompt, pictures)
        fitting = self.taking(prompts=prompt is not None)
        wanted = "pictures" if prompt is None else "prompt"
        if not fitting:
            known = "only text models are here" if prompt is None else "no text model is here"
            raise InvalidInputError(f"{wanted}: {known}; start the program with another (--model).", field=wanted)
        if model is not None and model not in fitting:
            other = "a prompt, not pictures" if prompt is None else "pictures, not a prompt"
            raise InvalidInputError(
                f"model {model} takes {other}; for {wanted} there are {', '.join(fitting)}.", field="model"
            )
        chosen = model or self.default_of(prompts=prompt is not None)
        if chosen is None:
            known = f"no model for it is here yet; name one to have it fetched: {', '.join(fitting)}"
            raise InvalidInputError(f"{wanted}: {known}.", field=wanted)
        return chosen

    def taking(self, *, prompts: bool) -> list[str]:
        """The models that take prompts, or those that take pictures."""
        return [name for name in self.names if (name in self.of_texts) == prompts]

    def default_of(self, *, prompts: bool) -> str | None:
        """The model for prompts or for pictures where none is named, if one is here or the program's own."""
        known = (name for name in self.taking(prompts=prompts) if name not in self.to_fetch or name == self.default)
        return next(known, None)

    def _check_extent(self, prompt: str | None, pictures: int) -> None:
        if prompt is not None and pictures:
            raise InvalidInputError("Give pictures or a prompt, not both.", field="prompt")
        if prompt is None and not 1 <= pictures <= MAX_PICTURES:
            raise InvalidInputError(f"pictures must hold between 1 and {MAX_PICTURES} pictures.", field="pictures")
        if prompt is not None and not 1 <= len(prompt.strip()) <= LONGEST_PROMPT:
            raise InvalidInputError(f"prompt must have between 1 and {LONGEST_PROMPT} characters.", field="prompt")

"""The terms in which options are declared: once, for checks, flags, the page, documents and records alike.

A class of options is a pydantic model. Its JSON schema says all there is to an option (label, help, group, unit, range,
default, what null means); whatever shows options to people or programs is made from that.
"""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
)

from trellis.errors import InvalidInputError, did_you_mean

# The groups of a job's options, as the command line shows them.
SHAPE, MESH, TEXTURE, FILES, PREVIEW, MACHINE = "Shape and colours", "Mesh", "Texture", "Files", "Preview", "Machine"
CHANGE, SOURCE = "Change", "Source"


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)  # JSON and sliders know no difference between 12 and 12.0; stands after the range
Seed = Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE]


def _literal(values: Sequence[Any]) -> Any:
    return Literal.__getitem__(tuple(values))


@dataclass(frozen=True)
class OneOf:
    """Annotates a value out of a closed set."""

    values: Sequence[Any]

    def __get_pydantic_core_schema__(self, _: object, handler: GetCoreSchemaHandler) -> Any:
        return handler.generate_schema(_literal(self.values))


@dataclass(frozen=True)
class SomeOf:
    """Annotates one or more values out of a closed set, each once; in the order of the set, unless not to `sort`."""

    values: Sequence[str]
    sort: bool = True

    def __get_pydantic_core_schema__(self, _: object, handler: GetCoreSchemaHandler) -> Any:
        several: Any = tuple.__class_getitem__((_literal(self.values), ...))
        # JSON has lists in place of tuples, hence not strict.
        checks = (Field(min_length=1, strict=False), AfterValidator(self._ordered))
        return handler.generate_schema(Annotated[several, *checks])

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "uniqueItems": True}

    def _ordered(self, chosen: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(chosen)) < len(chosen):
            raise ValueError("a value is there twice")
        return tuple(value for value in self.values if value in chosen) if self.sort else chosen


def option(
    default: Any,
    label: str,
    help: str,
    *,
    group: str,
    unit: str | None = None,
    step: float | None = None,
    null: str | None = None,
    form: str | None = None,
) -> Any:
    """Declare a field of `Options`.

    label, help: what people read; group: the options that it stands with; unit: of a number, in one word; step: of its
    slider; null: what None means, where that is a value; form: its values in words, where range and type do not say.
    """
    terms = {"x-group": group, "x-unit": unit, "x-step": step, "x-null": null, "x-form": form}
    stated: dict[str, Any] = {name: value for name, value in terms.items() if value is not None}
    return Field(default, title=label, description=help, json_schema_extra=stated)


@dataclass(frozen=True)
class Option:
    """What people and programs need to know of one option, out of its JSON schema.

    kind: JSON's word for its type; values: the closed set that it is, or its items are, taken from; minimum and
    maximum: of a number without such a set; null: what None means, where that is a value; form: its values in words,
    where all this does not say.
    """

    label: str
    help: str
    group: str
    default: Any
    kind: str
    values: tuple[Any, ...]
    minimum: float = 0
    maximum: float = 0
    unit: str = "N"
    step: float = 1
    null: str | None = None
    form: str | None = None

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any]) -> "Option":
        """The option that a property of a model's JSON schema describes."""
        value = schema["anyOf"][0] if "anyOf" in schema else schema
        return cls(
            label=schema["title"],
            help=schema["description"],
            default=schema["default"],
            kind=value["type"],
            values=tuple(value.get("items", value).get("enum", ())),
            **{name: value[name] for name in ("minimum", "maximum") if name in value},
            **{name.removeprefix("x-"): term for name, term in schema.items() if name.startswith("x-")},
        )

    def describe(self) -> str:
        """The values that it takes, in words."""
        if self.form is not None:
            return self.form
        if self.kind == "boolean":
            return "true or false"
        if self.values:
            return ("one or more of " if self.kind == "array" else "one of ") + ", ".join(map(str, self.values))
        kind = "a whole number" if self.kind == "integer" else "a number"
        return f"{kind} from {self.minimum:g} to {self.maximum:.10g}"


class Options(BaseModel):
    """Checked options, which do not change. Raises InvalidInputError with the name of the field that is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __init__(self, /, **values: Any) -> None:
        for name in values:  # before pydantic, which knows no names that are not valid Unicode
            if name not in type(self).model_fields:
                raise InvalidInputError(
                    f"Unknown option {name[:80]!r}; known: {', '.join(self.options())}."
                    f"{did_you_mean(name, self.options())}",
                    field=name,
                )
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self._explained(error, values) from None

    @classmethod
    @cache
    def options(cls) -> Mapping[str, Option]:
        """Every option by its name."""
        properties = cls.model_json_schema()["properties"]
        return {name: Option.from_schema(schema) for name, schema in properties.items() if "x-group" in schema}

    @classmethod
    def _explained(cls, error: ValidationError, values: Mapping[str, Any]) -> InvalidInputError:
        """The first problem in one sentence."""
        problem = error.errors(include_url=False)[0]
        if not problem["loc"]:  # of several options together
            return InvalidInputError(str(problem["ctx"]["error"]))
        name = str(problem["loc"][0])
        known = cls.options()
        allowed = known[name].describe() if name in known else problem.get("ctx", {}).get("expected", "as documented")
        meant = ""
        if name in known and problem["type"] == "literal_error" and isinstance(problem["input"], str):
            meant = did_you_mean(problem["input"], map(str, known[name].values))
        return InvalidInputError(f"{name} must be {allowed}, not {shown(values[name])}.{meant}", field=name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values fit for JSON."""
        return self.model_dump(mode="json")


def shown(value: object) -> str:
    """The value for a message, shortened; integers of thousands of digits have no text at all."""
    return "a huge number" if isinstance(value, int) and value.bit_length() > 128 else reprlib.repr(value)

"""Numbers as the desktop client and scripts send them: 7.5, "7.5", "7,5"."""

import math
import re
from dataclasses import dataclass
from typing import Any

from trellis.app.api.errors import FieldError

_NUMBER = re.compile(r"[+-]?(\d{1,40}([.,]\d{0,40})?|[.,]\d{1,40})([eE][+-]?\d{1,3})?")


@dataclass(frozen=True)
class Number:
    """A number of another program's clients: its default, range, and whether the lower bound itself is excluded."""

    default: float
    low: float
    high: float
    help: str
    integer: bool = False
    above_low: bool = False

    def parse(self, field: str, value: object) -> float | int:
        """The number, the default for null; raises FieldError."""
        check = whole if self.integer else within
        given = self.default if value is None else value
        return check(field, given, low=self.low, high=self.high, above_low=self.above_low)

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        low = {"exclusiveMinimum" if self.above_low else "minimum": self.low}
        kind = "integer" if self.integer else "number"
        default = int(self.default) if self.integer else self.default
        return {"type": kind, **low, "maximum": self.high, "default": default, "description": self.help}


def parse_number(field: str, value: object) -> float | int:
    """The number; a comma may stand for the decimal point. Raises FieldError for anything that is not finite."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            raise FieldError(field, f"{field} must be a number, not {text[:40]!r}.")
        plain = text.replace(",", ".")
        value = float(plain) if set(plain) & set(".eE") else int(plain)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FieldError(field, f"{field} must be a number, not {_kind(value)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise FieldError(field, f"{field} must be a finite number.")
    return value


def within(field: str, value: object, *, low: float, high: float, above_low: bool = False) -> float | int:
    """The number, if it is from `low` (not `low` itself with `above_low`) to `high`; else raises FieldError."""
    number = parse_number(field, value)
    if low <= number <= high and not (above_low and number == low):
        return number
    bounds = f"greater than {low:g} and at most {high:.10g}" if above_low else f"from {low:.10g} to {high:.10g}"
    raise FieldError(field, f"{field} must be {bounds}.")


def whole(field: str, value: object, *, low: float, high: float, above_low: bool = False) -> int:
    """As `within`, rounded: sliders send 12.0 and may send 12.3 for a 12 that is shown."""
    number = parse_number(field, value)
    if abs(number) > 1e18:
        raise FieldError(field, f"{field} must be from {low:.10g} to {high:.10g}.")
    return int(within(field, round(number), low=low, high=high, above_low=above_low))


def _kind(value: object) -> str:
    names = {bool: "true or false", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), type(value).__name__)

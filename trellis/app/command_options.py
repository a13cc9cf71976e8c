"""The flags of a command, which come from the classes of options, and the request that a line states with them."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from trellis.app.boxes import read_box
from trellis.app.model_choices import check_takes
from trellis.app.output_folder import check_writable
from trellis.app.request import JobRequest
from trellis.options import Option, Options
from trellis.runtime import ModelFiles, check_machine_options


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


CONVERTERS: dict[str, Callable[[str], Any]] = {"integer": int, "number": float, "string": str, "array": _split}


def add_options(
    parser: argparse.ArgumentParser, model: type[Options], *, without: Sequence[type[Options]]
) -> dict[str, argparse._ArgumentGroup]:
    """Add a flag for every option of `model` that none of `without` has, in its group; the groups by name.

    The values are checked by the model itself.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, option in model.options().items():
        if any(name in other.options() for other in without):
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        flag = "--" + name.replace("_", "-")
        terms: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": _help(option)}
        if option.kind == "boolean":
            groups[option.group].add_argument(flag, action=argparse.BooleanOptionalAction, **terms)
            continue
        if option.kind == "array" and not option.values:
            groups[option.group].add_argument(flag, action="append", metavar=option.unit, **terms)
            continue
        metavar = f"{{{','.join(map(str, option.values))}}}" if option.values else option.unit
        groups[option.group].add_argument(flag, type=CONVERTERS[option.kind], metavar=metavar, **terms)
    return groups


def _help(option: Option) -> str:
    default = option.null if option.default is None else option.default
    if isinstance(default, list):
        default = ",".join(default)
    elif isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, float):
        default = f"{default:g}"
    several = ""
    if option.kind == "array":
        several = "several with commas between; " if option.values else "may be repeated; "
    bounds = f"{option.minimum:g} to {option.maximum:.10g}; " if option.kind in ("integer", "number") else ""
    return f"{option.help} ({several}{'' if option.values else bounds}default: {default})".replace("%", "%%")


def request_from(parsed: argparse.Namespace) -> JobRequest:
    """The request of its operation that the command line states; raises InvalidInputError naming the option."""
    operation: type[JobRequest] = parsed.operation
    values = {name: getattr(parsed, name) for name in operation.options() if hasattr(parsed, name)}
    if getattr(parsed, "steps", None) is not None:
        values = {"structure_steps": parsed.steps, "latent_steps": parsed.steps} | values
    if "box" in values:
        values["box"] = [read_box(text) for text in values["box"]]
    return operation(**values)


def check_start(parsed: argparse.Namespace, given: str | None) -> None:
    """Find out before anything is loaded what would fail in the end; raises InvalidInputError, CheckpointError.

    given: of the inputs of a family, if a model must take one.
    """
    check_machine_options(parsed.device, parsed.precision)
    if given is not None:
        check_takes(parsed.model, given, ModelFiles.locate(offline=parsed.offline))
    check_writable(parsed.output)

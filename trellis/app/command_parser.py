"""How every command reads its line: under the starter's name, with defaults in its help, in one sentence when wrong."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from trellis.errors import did_you_mean


class HelpWithDefaults(argparse.HelpFormatter):
    """Ends the help of every option with its default, where the help does not tell it in words."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = super()._get_help_string(action) or ""
        untold = action.option_strings and action.default not in (argparse.SUPPRESS, None) and "default:" not in text
        if not untold:
            return text
        if isinstance(action.default, bool):
            return f"{text} (default: {'yes' if action.default else 'no'})"
        return text + (" (default: %(default)s)" if action.default != [] else " (default: none)")


class CommandParser(argparse.ArgumentParser):
    """A parser that ends the program with status 2 and a sentence for a wrong line, and names what was meant."""

    def __init__(self, **terms: Any) -> None:
        super().__init__(**{"formatter_class": HelpWithDefaults, **terms})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As in the base class, and nothing is left over: the command that words were given to tells what is wrong."""
        known = [option for action in self._actions for option in action.option_strings]
        args = self._with_numbers(sys.argv[1:] if args is None else args)
        for word in args:
            name = word.partition("=")[0]
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break  # what follows are no options, or those of another command
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                self.error(f"There is no option {name}.{did_you_mean(name, known)}")
        parsed, left = super().parse_known_args(args, namespace)
        if left and left[0].startswith("-"):
            self.error(f"There is no option {left[0]}.")
        if left:
            self.error(f"There is no place for {left[0]}; several values of an option are written with commas.")
        return parsed, left

    def _with_numbers(self, words: Sequence[str]) -> list[str]:
        """The words with `--option -1,2` as `--option=-1,2`: argparse takes the first for two options."""
        takers = {name for action in self._actions if action.nargs is None for name in action.option_strings}
        joined: list[str] = []
        for word in words:
            if joined and joined[-1] in takers and re.match(r"-[\d.]", word):
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return joined

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            meant = did_you_mean(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, f"{error.message}.{meant}") from None

    def error(self, message: str) -> NoReturn:
        """End the program; `message` is what is wrong."""
        self.exit(2, f"error: {message}\n{self.prog} --help tells what can be given.\n")

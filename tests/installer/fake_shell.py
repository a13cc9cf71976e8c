"""A shell that runs nothing: it records commands and fails where a test wants it to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from installer.errors import CommandError


class FakeShell:
    """`failures` maps a word that occurs in a command to how many times such commands fail.

    Creating an environment makes its interpreter's file, as the real command does.
    """

    def __init__(self, *, failures: Mapping[str, int] | None = None, answers: Mapping[str, str] | None = None) -> None:
        self.commands: list[list[str]] = []
        self.said: list[str] = []
        self.slept: list[float] = []
        self._failures = dict(failures or {})
        self._answers = dict(answers or {})

    def say(self, text: str) -> None:
        self.said.append(text)

    def record(self, text: str) -> None:
        self.said.append(text)

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.commands.append(list(command))
        for word, left in self._failures.items():
            if left > 0 and any(word in part for part in command):
                self._failures[word] = left - 1
                raise CommandError(f"{word} failed", detail="the last lines")
        if "venv" in command:
            interpreter = Path(command[-1]) / "bin" / "python"
            interpreter.parent.mkdir(parents=True, exist_ok=True)
            interpreter.write_text("")

    def read(self, command: Sequence[str], *, timeout: float) -> str | None:
        assert timeout > 0
        return next((text for word, text in self._answers.items() if any(word in part for part in command)), None)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

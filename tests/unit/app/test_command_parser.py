"""The command line before anything is loaded: its help, and the sentences for what is misspelt or cannot work."""

import argparse
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from installer import __main__ as starter
from installer import setup
from tests.contract.sources import ROOT
from trellis import cli
from trellis.errors import STARTER

PICTURE = Path(__file__).parent / "picture.png"
COMMANDS = (
    "generate",
    "batch",
    "variant",
    "edit",
    "retexture",
    "view",
    "encode",
    "decode",
    "serve",
    "doctor",
    "models",
    "dataset",
    "ui",
    "train",
    "setup",
)


def parsers(monkeypatch: pytest.MonkeyPatch) -> dict[str, argparse.ArgumentParser]:
    """The parser of every command, by its name."""
    found: list[argparse.ArgumentParser] = []

    def keep(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise SystemExit

    subparsers = next(action for action in cli.build_parser()._actions if isinstance(action.choices, dict))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", keep)
    monkeypatch.setattr(sys, "argv", ["program"])
    for program in ("gradio_main.py", "train.py"):
        with pytest.raises(SystemExit):
            runpy.run_path(str(ROOT / program), run_name="__main__")
    with pytest.raises(SystemExit):
        setup.parse([])
    return {**subparsers.choices, **dict(zip(("ui", "train", "setup"), found, strict=True))}


def test_help_is_of_the_starter_and_tells_every_default(monkeypatch: pytest.MonkeyPatch) -> None:
    known = parsers(monkeypatch)
    assert set(known) == set(COMMANDS)
    for name, parser in known.items():
        assert parser.prog == f"{STARTER} {name}"
        assert parser.format_help().startswith(f"usage: {STARTER} {name}")
        if name == "setup":  # the installer's own
            continue
        formatter = parser._get_formatter()
        for action in parser._actions:
            if action.option_strings and not action.required and action.dest != "help":
                told = formatter._expand_help(action)
                assert "default: " in told and "None" not in told and "SUPPRESS" not in told, (name, told)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("generate a.png --textur-size 512", "There is no option --textur-size. Did you mean --texture-size?"),
        ("batch --recursve=1", "There is no option --recursve. Did you mean --recursive?"),
        ("serve --prot 80", "There is no option --prot. Did you mean --port?"),
        ("serve --preset minimla", "Did you mean minimal?"),
        ("models gte nano", "Did you mean get?"),
        ("generate a.png -o x", "There is no option -o."),
        (
            "doctor --device cpu cuda",
            "There is no place for cuda; several values of an option are",
        ),
        ("genrate a.png", "Did you mean generate?"),
    ],
)
def test_what_is_misspelt_is_told_with_what_was_meant(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2 and words in said and STARTER in said and said.count("\n") == 2


def test_a_misspelt_command_of_the_starter(capsys: pytest.CaptureFixture[str]) -> None:
    assert starter.main(["genrate"]) == 2
    assert capsys.readouterr().err.startswith("unknown command 'genrate'. Did you mean 'generate'?")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["generate", "--prompt", "a teapot"],
            "nano takes pictures, no text: choose another model, such as --model mi",
        ),
        (["generate", str(PICTURE), "--output", str(PICTURE)], "a file has that name"),
        (["batch", str(PICTURE), "--output", str(PICTURE / "x")], "Not a directory"),
        (["generate", str(PICTURE.parent)], f"is a folder: `{STARTER} batch"),
        (["generate"], f"{STARTER} generate PICTURE..."),
        (["models", "get", "TRELLIS-image-lrge"], "Did you mean TRELLIS-image-large?"),
        (["serve", "--port", "0", "--model", "TRELLIS-image-lrge"], "Did you mean TRELLIS-image-large?"),
        (["batch", str(PICTURE), "--worker-cpus", "2"], "give --cluster too"),
        (["batch", str(PICTURE), "--cluster", "local", "--workers", "-1"], "must be at least 1"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_loaded(words: list[str], expected: str, tmp_path: Path) -> None:
    """torch is not even imported, let alone a model opened."""
    program = (
        "import sys; from trellis.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(f'{status}: torch was imported' if 'torch' in sys.modules else status)"
    )
    command = [sys.executable, "-P", "-c", program, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2) and "torch" not in done.stderr
    assert done.stderr.startswith("error: ") and expected in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="a group of processes gets Ctrl+C from its console there")
@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.4, 3.0])
@pytest.mark.parametrize("program", [["gradio_main.py", "--no-browser"], ["-m", "trellis", "serve"]])
def test_ctrl_c_leaves_no_traceback(program: list[str], seconds: float, tmp_path: Path) -> None:
    """While libraries are imported, while the model is loaded, and later."""
    command = [sys.executable, *program, "--port", "0", "--offline", "--device", "cpu", "--output", str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGINT), said
    assert "Traceback" not in said and "KeyboardInterrupt" not in said

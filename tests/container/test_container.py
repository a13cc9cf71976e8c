"""The container's files: what can be checked without a daemon (no image is built here)."""

import importlib.util
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from installer.requirements import read_pins
from tests.contract.sources import ROOT, needed_files
from trellis.cli import build_parser, request_from

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
TARGETS = ("cpu", "cuda", "blender")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"container_{name}", ROOT / "docker" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def instructions(text: str = DOCKERFILE) -> list[tuple[str, str]]:
    """Instructions with their arguments, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0].upper(), line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Every stage by name: what it is made from, and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            base, _, name = rest.split()
            found[name] = (base, [])
        elif found:
            list(found.values())[-1][1].append((word, rest))
    return found


def all_of(stage: str) -> list[tuple[str, str]]:
    """The instructions of a stage after those of the stages it is made from."""
    base, own = stages()[stage]
    return (all_of(base) if base in stages() else []) + own


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_runs_as_an_ordinary_user(target: str) -> None:
    users = [rest for word, rest in all_of(target) if word == "USER"]
    assert users and users[-1] in ("${UID}:${GID}", "1000:1000")
    assert "ARG" in dict(all_of(target)) or target == "blender"


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_program_targets_have_health_check_volumes_and_places_for_weights(target: str) -> None:
    words = all_of(target)
    assert [rest for word, rest in words if word == "HEALTHCHECK" and "healthcheck.py" in rest]
    assert [rest for word, rest in words if word == "VOLUME"] == ['["/models", "/data"]']
    environment = " ".join(rest for word, rest in words if word == "ENV")
    for name in ("TRELLIS_MODELS", "HF_HOME", "U2NET_HOME", "XDG_CACHE_HOME", "WARP_CACHE_PATH"):
        assert re.search(rf"\b{name}=/models\b", environment), name
    assert [rest for word, rest in words if word == "ENTRYPOINT" and "entrypoint.sh" in rest]


def test_copied_files_exist_and_are_sent_to_the_daemon() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored and all((ROOT / place).exists() for place in sent)
    copied = [s for word, rest in instructions() if word == "COPY" and "--from" not in rest for s in rest.split()[:-1]]
    assert len(copied) > 8
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == place or source.startswith(f"{place}/") for place in sent), source


def test_everything_that_the_program_imports_is_in_the_image() -> None:
    own = [rest.split() for word, rest in all_of("cpu") if word == "COPY" and "--from" not in rest]
    copied = [source for words in own for source in words[:-1]]
    needed = needed_files("gradio_main.py", "trellis/__main__.py", "trellis/app/worker.py")
    assert "extensions/vox2seq/codes.py" in needed and len(needed) > 100
    missing = [file for file in needed if not any(file == place or file.startswith(f"{place}/") for place in copied)]
    assert not missing, missing


def test_warp_for_older_drivers_is_a_pin_of_the_installer() -> None:
    from installer.plan import WARP_FOR_OLD_DRIVERS

    assert f"warp-lang=={WARP_FOR_OLD_DRIVERS}/" in DOCKERFILE
    assert "warp-lang" in read_pins(ROOT / "requirements_2.txt")


def test_linter_finds_nothing() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not here")
    result = subprocess.run(
        [hadolint, str(ROOT / "docker" / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_every_variable_of_the_compose_file_is_explained() -> None:
    heading = COMPOSE.split("x-program:")[0]
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE)) | set(re.findall(r"^  ([A-Z_]+):$", COMPOSE, re.MULTILINE))
    assert len(used) > 10
    proxies = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
    assert {name for name in used - proxies if name not in heading} == set()
    assert set(re.findall(r"target: (\w+)", COMPOSE)) == set(TARGETS) <= set(stages())


def test_both_targets_are_built_with_the_index_of_the_settings() -> None:
    index = next(rest.partition("=")[2] for word, rest in all_of("packages") if rest.startswith("TORCH_INDEX="))
    assert f'TORCH_INDEX: "${{TORCH_INDEX:-{index}}}"' in COMPOSE
    for target in ("cpu", "cuda"):
        arguments = re.search(rf"target: {target}\n      args:\n((?: {{8}}.*\n)+)", COMPOSE)
        assert arguments and "<<: *arguments" in arguments[1] and "TORCH_BUILD:" in arguments[1]


def compose(folder: Path, *arguments: str, **settings: str) -> str:
    """What compose says of the files in the folder, with those settings alone in the environment."""
    commands = [[tool] for tool in ("docker-compose",) if shutil.which(tool)]
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        commands.append([docker, "compose"])
    if not commands:
        pytest.skip("neither docker compose nor docker-compose is here")
    command = [*commands[-1], *arguments]
    result = subprocess.run(
        command, cwd=folder, env=without_settings() | settings, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def without_settings() -> dict[str, str]:
    """The environment of the tests without what compose.yaml reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TRELLIS_", "TORCH_"))}


@pytest.mark.parametrize("profile", (*TARGETS, "cluster"))
def test_compose_reads_the_file(profile: str) -> None:
    config = compose(ROOT, "--profile", profile, "config")
    assert f"trellis-desktop:{profile}" in config
    assert "127.0.0.1" in config or profile == "blender"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what make and compose read, and no file .env yet."""
    (tmp_path / "docker").mkdir()
    for name in ("Makefile", "compose.yaml", "docker/setting.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_settings_of_the_file_reach_image_and_container(checkout: Path) -> None:
    lines = ("TRELLIS_MODEL=a/b", "TRELLIS_PRESET=minimal", "TORCH_BUILD=cu126", "TORCH_INDEX=https://mirror/whl")
    (checkout / ".env").write_text("\n".join(lines))
    config = compose(checkout, "--profile", "cuda", "config", TRELLIS_PRESET="fastest")
    for line in (lines[0], "TRELLIS_PRESET=fastest", *lines[2:]):
        assert re.search(rf"^ *{line.replace('=', ': ')}$", config, re.MULTILINE), line


@pytest.mark.parametrize(
    "written",
    ["./x", "/x # why", '"/a b"', "'/a b' # why", "/a b ", "~/x", "${HOME}/x", "/old\nTRELLIS_OUTPUT=/x\r", ""],
)
def test_a_folder_of_the_file_is_read_as_compose_reads_it(checkout: Path, written: str) -> None:
    (checkout / ".env").write_text(f"# results\nexport TRELLIS_OUTPUT={written}\nTRELLIS_PORT=1\n")
    command = ["sh", "docker/setting.sh", "TRELLIS_OUTPUT", "./outputs"]
    result = subprocess.run(command, cwd=checkout, env=without_settings(), capture_output=True, text=True, check=True)
    place = re.escape(str(checkout / result.stdout.removesuffix("\n")))
    config = compose(checkout, "--profile", "cpu", "config")
    assert re.search(rf"(- {place}:/data|source: {place}\n +target: /data)", config), (place, config)


def entry(
    tmp_path: Path, *arguments: str, token: str = "", writable: bool = True, **settings: str
) -> tuple[int, list[str], str]:
    """Status, what python would have been called with, and messages of the entry point."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "python").write_text('#!/bin/sh\nfor a in "$@"; do echo "$a"; done\n')
    (tools / "python").chmod(0o755)
    script = (ROOT / "docker" / "entrypoint.sh").read_text(encoding="utf-8")
    data = tmp_path / ("data" if writable else "missing")
    if writable:
        data.mkdir(exist_ok=True)
    script = script.replace("-w /data", f"-w {data}").replace("/tmp/token", f"{tmp_path}/token")
    command = ["sh", "-c", script, "entrypoint", *arguments]
    environment = {"PATH": f"{tools}:/usr/bin:/bin", **({"TRELLIS_TOKEN": token} if token else {}), **settings}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout.splitlines(), result.stderr


def test_server_of_the_container(tmp_path: Path) -> None:
    status, words, _ = entry(tmp_path)
    assert status == 0 and words[0] == "/app/gradio_main.py"
    server = build_parser().parse_args(["serve", *[word for word in words[1:] if word != "--no-browser"]])
    assert (server.host, server.port, server.trust_lan, server.model) == ("0.0.0.0", 7960, True, "nano")
    status, words, _ = entry(tmp_path, "serve", "--verbose", token="a-long-enough-token")
    assert "--trust-lan" not in words and "a-long-enough-token" not in words and words[-1] == "--verbose"
    assert (tmp_path / "token").read_text() == "a-long-enough-token"
    assert (tmp_path / "token").stat().st_mode & 0o077 == 0


def test_other_commands_of_the_container(tmp_path: Path) -> None:
    assert entry(tmp_path, "batch", "/input", "a b")[1] == ["-P", "-m", "trellis", "batch", "/input", "a b"]
    assert entry(tmp_path, "reconstruct", "x")[1] == ["-P", "/app/docker/reconstruct.py", "x"]
    assert entry(tmp_path, "echo", "as it is")[1] == ["as it is"]
    status, _, message = entry(tmp_path, writable=False)
    assert status == 1 and "TRELLIS_UID" in message


@pytest.mark.parametrize("command", ["serve", "generate", "batch", "doctor", "reconstruct"])
def test_settings_are_the_defaults_of_every_command(tmp_path: Path, command: str) -> None:
    settings = {"TRELLIS_MODEL": "/models/a b", "TRELLIS_PRESET": "minimal"}

    def chosen(*arguments: str, **settings: str) -> tuple[str, str]:
        words = entry(tmp_path, command, *arguments, **settings)[1]
        words = [word for word in words if word != "--no-browser"]
        if command == "reconstruct":
            script = load("reconstruct")
            words = script.translated(script.parser().parse_args([*words[2:], "x.png"]))
        else:
            words = [command, *words[words.index(command) + 1 if command in words else 1 :]]
        options = build_parser().parse_args([*words, "x.png"] if command in ("generate", "batch") else words)
        return options.model, options.preset

    assert chosen(**settings) == ("/models/a b", "minimal")
    assert chosen("--model", "c/d", "--preset", "fastest", **settings) == ("c/d", "fastest")
    assert chosen("--preset", "fastest", **settings) == ("/models/a b", "fastest")
    assert chosen(TRELLIS_MODEL="", TRELLIS_PRESET="") == ("nano", "auto")


def test_commands_without_a_model_get_none(tmp_path: Path) -> None:
    assert entry(tmp_path, "models", "get", "a", TRELLIS_MODEL="m")[1] == ["-P", "-m", "trellis", "models", "get", "a"]
    assert entry(tmp_path, "echo", "x", TRELLIS_MODEL="m", TRELLIS_PRESET="minimal")[1] == ["x"]


@pytest.mark.parametrize(
    ("quality", "faces", "texture_size"),
    [("balanced", 500_000, 2048), ("standard", 500_000, 2048), ("high", 1_000_000, 4096), ("ultra", 2_000_000, 4096)],
)
def test_the_guides_qualities(quality: str, faces: int, texture_size: int) -> None:
    script = load("reconstruct")
    words = ["a.png", "--output", "out", "--quality", quality, "--seed", "7", "--algo", "trellis2"]
    options = build_parser().parse_args(script.translated(script.parser().parse_args(words)))
    request = request_from(options)
    assert (request.faces, request.texture_size, request.seed) == (faces, texture_size, 7)
    assert request.quality == {"balanced": "standard"}.get(quality, quality)
    assert request.formats == ("glb", "ply", "mp4") and options.sources == [Path("a.png")]


def test_the_guides_own_numbers_go_first() -> None:
    script = load("reconstruct")
    words = ["a.png", "b", "--output-dir", "o", "--decimation", "12345", "--texture-size", "1024", "--model", "m/n"]
    words += ["--formats", "mesh,obj"]
    options = build_parser().parse_args(script.translated(script.parser().parse_args(words)))
    assert (options.faces, options.texture_size, options.model) == (12345, 1024, "m/n")
    assert options.formats == ("glb", "obj") and options.output == Path("o")
    with pytest.raises(SystemExit):
        script.parser().parse_args(["a.png", "--quality", "best"])


def test_the_formats_of_older_scripts_are_those_of_the_program() -> None:
    script = load("reconstruct")
    words = script.parser().parse_args(["a.png", "--formats", "mesh, gaussian, radiance_field"])
    options = build_parser().parse_args(script.translated(words))
    assert request_from(options).formats == ("glb", "ply", "radiance_field")


@pytest.mark.parametrize("command", ["generate", "batch"])
def test_the_commands_take_the_names_of_the_guide(command: str) -> None:
    words = [command, "x", "--output-dir", "o", "--model", "m/n", "--seed", "42", "--decimation", "777"]
    options = build_parser().parse_args([*words, "--texture-size", "2048"])
    assert (options.output, options.model) == (Path("o"), "m/n")
    request = request_from(options)
    assert (request.seed, request.faces, request.texture_size) == (42, 777, 2048)


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == "Bearer secret"
            self.send_response(200 if self.path == "/ping" and known else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_health(server: HTTPServer) -> None:
    check = load("healthcheck")
    place = ("127.0.0.1", server.server_port)
    assert check.is_healthy(place, "secret")
    assert not check.is_healthy(place, "wrong")
    assert not check.is_healthy(place)
    assert not check.is_healthy(("127.0.0.1", 9), "secret")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_make_targets() -> None:
    def say(*arguments: str) -> str:
        command = ["make", "--dry-run", "--no-print-directory", *arguments]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "--profile cuda --profile blender build" in say("build", "TARGET=cuda")
    assert "up --detach --wait" in say("up", "TARGET=cpu")
    assert "--profile cpu --profile cuda --profile blender down" in say("down")
    pipeline = say("pipeline", "TARGET=cpu", "INPUT=sub/a.png", "QUALITY=ultra", "DECIMATION=9", "SEED=3")
    assert 'reconstruct "/input/sub/a.png" --output "/data/a" --quality ultra --seed 3 --decimation 9' in pipeline
    assert 'blender "/data/a" --output "/data/a/blender"' in pipeline
    generate = say("generate", "TARGET=cpu")
    assert say("reconstruct", "TARGET=cpu") == generate and generate in say("pipeline", "TARGET=cpu")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_make_reads_the_settings_of_the_file(checkout: Path) -> None:
    """Folder, port and owner; the environment goes before the file, and compose gets the same owner."""
    own = f"{os.getuid()}:{os.getgid()}"
    (checkout / "compose").write_text('#!/bin/sh\necho "owner $TRELLIS_UID:$TRELLIS_GID"\n')
    (checkout / "compose").chmod(0o755)

    def up(**settings: str) -> str:
        command = ["make", "--silent", "up", "TARGET=cpu", "COMPOSE=./compose"]
        environment = without_settings() | settings
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True).stdout

    said = up()
    assert f"owner {own}\n" in said and "127.0.0.1:7960/" in said and (checkout / "outputs").is_dir()
    lines = ('TRELLIS_OUTPUT="./my results" # mine', "TRELLIS_PORT=8000", "TRELLIS_UID=12", "TRELLIS_GID=34")
    (checkout / ".env").write_text("\n".join(lines))
    said = up()
    assert "owner 12:34\n" in said and "127.0.0.1:8000/" in said and (checkout / "my results").is_dir()
    said = up(TRELLIS_OUTPUT="./others", TRELLIS_PORT="9000", TRELLIS_UID="56")
    assert "owner 56:34\n" in said and "127.0.0.1:9000/" in said and (checkout / "others").is_dir()
    (checkout / "outputs").rmdir()
    up(TRELLIS_OUTPUT="")
    assert (checkout / "outputs").is_dir()

"""What a machine's pip is told about packages, handed on to uv, which reads none of pip's configuration."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path

# pip's setting: uv's variable, and what joins several values there
_NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", ""),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", ""),  # which `Uv` turns into an option: uv has no such variable
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", ""),
    "client-cert": ("SSL_CLIENT_CERT", ""),
    "timeout": ("UV_HTTP_TIMEOUT", ""),
    "default-timeout": ("UV_HTTP_TIMEOUT", ""),
    "proxy": ("ALL_PROXY", ""),
}


def configuration_files(environment: Mapping[str, str]) -> list[Path]:
    """Return where pip looks for its settings on this system; what a later one says counts."""
    named = environment.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    home = Path(environment.get("USERPROFILE" if os.name == "nt" else "HOME", "~")).expanduser()
    if os.name == "nt":
        own = [Path(environment[name]) / "pip" for name in ("PROGRAMDATA", "APPDATA") if environment.get(name)]
        folders = [*own[:1], home / "pip", *own[1:]]
    else:
        shared = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        folders = [*(Path(folder) / "pip" for folder in shared.split(":")), Path("/etc"), home / ".pip"]
        folders.append(Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip")
        if sys.platform == "darwin":
            folders.append(home / "Library" / "Application Support" / "pip")
    files = [folder / ("pip.ini" if os.name == "nt" else "pip.conf") for folder in folders]
    return [*files, *([Path(named)] if named else [])]


def pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return {pip's setting: value} of the configuration files ([global], then [install]) and of PIP_* variables."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in configuration_files(environment):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):  # pip could not read it either
            continue
        for name in set(sections) & set(parser.sections()):
            sections[name] |= dict(parser[name])
    stated = {name[4:].lower(): value for name, value in environment.items() if name.upper().startswith("PIP_")}
    merged = sections["global"] | sections["install"] | stated
    return {name.replace("_", "-"): value for name, value in merged.items() if value}


def uv_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for uv: what pip is told, under uv's names. What uv is told itself goes before that."""
    settings = pip_settings(environment)
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # pip looks at these too
        settings["cert"] = settings.get("cert") or environment.get(variable, "")
    handed = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # as pip: the best version, whichever place has it
    for name, (variable, glue) in _NAMES.items():
        if settings.get(name):
            handed[variable] = glue.join(settings[name].split()) if glue else settings[name]
    leaking = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # another program's modules where a package is built
    return {**handed, **{name: value for name, value in environment.items() if name not in leaking}}


def local_folders(environment: Mapping[str, str]) -> list[Path]:
    """Return the folders of this machine among uv's places with single files (pip's `find-links`)."""
    paths = [Path(place.removeprefix("file://")) for place in environment.get("UV_FIND_LINKS", "").split(",") if place]
    return [path for path in paths if path.is_dir()]

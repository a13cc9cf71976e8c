"""What pip is told on a machine reaches uv: from its files and variables, and behind what uv is told itself."""

import os
from pathlib import Path

import pytest

from installer.pip_settings import configuration_files, local_folders, pip_settings, uv_environment

posix = pytest.mark.skipif(os.name == "nt", reason="the files of Linux")


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of a person whose own file and whose named file contradict each other in part."""
    own = tmp_path / ".config" / "pip" / "pip.conf"
    own.parent.mkdir(parents=True)
    own.write_text(
        "[global]\nindex-url = https://own.example/simple\nextra-index-url =\n    https://a.example/simple\n"
        "    file:///b/simple\n[install]\nfind_links = /wheels https://c.example/files\n"
    )
    named = tmp_path / "named.conf"
    named.write_text("[global]\nindex-url = https://named.example/simple\nproxy = http://proxy.example:3128\n")
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none"), "PIP_CONFIG_FILE": str(named)}


@posix
def test_files_and_variables(home: dict[str, str]) -> None:
    environment = uv_environment(
        home | {"PIP_CERT": "/c.pem", "PIP_DEFAULT_TIMEOUT": "180", "PIP_TRUSTED_HOST": "x.example y.example"}
    )
    assert environment["UV_DEFAULT_INDEX"] == "https://named.example/simple"  # the later file
    assert environment["UV_INDEX"] == "https://a.example/simple file:///b/simple"
    assert environment["UV_FIND_LINKS"] == "/wheels,https://c.example/files"
    assert environment["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert environment["SSL_CERT_FILE"] == "/c.pem"
    assert environment["UV_HTTP_TIMEOUT"] == "180"
    assert environment["UV_INSECURE_HOST"] == "x.example y.example"
    assert environment["ALL_PROXY"] == "http://proxy.example:3128"


@posix
def test_variables_go_before_files_and_uvs_own_before_both(home: dict[str, str]) -> None:
    stated = home | {"PIP_INDEX_URL": "https://variable.example/simple"}
    assert pip_settings(stated)["index-url"] == "https://variable.example/simple"
    assert uv_environment(stated)["UV_DEFAULT_INDEX"] == "https://variable.example/simple"
    stated |= {"UV_DEFAULT_INDEX": "https://uv.example/simple", "SSL_CERT_FILE": "/uv.pem", "PIP_CERT": "/pip.pem"}
    environment = uv_environment(stated)
    assert (environment["UV_DEFAULT_INDEX"], environment["SSL_CERT_FILE"]) == ("https://uv.example/simple", "/uv.pem")


@posix
def test_no_file_is_read_where_pip_reads_none(home: dict[str, str]) -> None:
    assert configuration_files(home | {"PIP_CONFIG_FILE": os.devnull}) == []
    assert "UV_INDEX" not in uv_environment(home | {"PIP_CONFIG_FILE": os.devnull})


@posix
def test_a_damaged_file_is_left_out(home: dict[str, str]) -> None:
    Path(home["PIP_CONFIG_FILE"]).write_text("no section = 1\n")
    assert pip_settings(home)["index-url"] == "https://own.example/simple"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_pip_looks_at_are_trusted(variable: str, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, variable: "/company.pem"}
    assert uv_environment(environment)["SSL_CERT_FILE"] == "/company.pem"


def test_other_programs_modules_are_kept_out() -> None:
    environment = uv_environment({"PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": "/other", "PATH": "/bin"})
    assert "PYTHONPATH" not in environment and environment["PATH"] == "/bin"


def test_only_folders_of_this_machine_are_local(tmp_path: Path) -> None:
    places = f"{tmp_path},{tmp_path.as_uri()},https://c.example/files,/does/not/exist"
    assert local_folders({"UV_FIND_LINKS": places}) == [tmp_path, tmp_path]
    assert local_folders({}) == []

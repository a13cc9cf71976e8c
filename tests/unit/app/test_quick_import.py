"""Gradio's files for editors are left alone while the page is put together."""

import inspect
from pathlib import Path

import gradio as gr
import pytest
from gradio import component_meta

from trellis.app.ui.quick_import import COMPONENT_KIND, without_editor_stubs


def test_components_come_from_no_file_for_that_time() -> None:
    real = inspect.getfile
    assert type(gr.Button).__name__ == COMPONENT_KIND
    with without_editor_stubs():
        with pytest.raises(OSError, match="no file"):
            inspect.getfile(gr.Button)
        assert inspect.getfile(Path) == real(Path)
    assert inspect.getfile is real and inspect.getfile(gr.Button).endswith(".py")


def test_gradio_then_reads_no_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("sources were read")

    monkeypatch.setattr(component_meta, "extract_class_source_code", read)
    with without_editor_stubs():
        component_meta.create_or_modify_pyi(gr.Button, "Button", [])
    with pytest.raises(AssertionError, match="sources were read"):
        component_meta.create_or_modify_pyi(gr.Button, "Button", [])

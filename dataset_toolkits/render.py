"""The step render of a data folder, with the published arguments; see docs/guide/dataset.md."""

from published import run

run(__file__)

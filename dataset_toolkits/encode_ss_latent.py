"""The step encode_ss_latent of a data folder, with the published arguments; see docs/guide/dataset.md."""

from published import run

run(__file__)

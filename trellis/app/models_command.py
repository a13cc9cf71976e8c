"""`models`: which models are here, and fetching one."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager

from trellis.errors import STARTER, InvalidInputError
from trellis.families.acquire import U2NET, get_model, known_names
from trellis.families.catalogue import CatalogueEntry, list_models, model_refusal, supporting_folder
from trellis.families.licences import accept_licence
from trellis.families.registry import licences, supporting_models
from trellis.progress import Progress
from trellis.runtime import ModelFiles, matting_model_path

ACTIONS = ("list", "get")


def add_models_options(parser: argparse.ArgumentParser) -> None:
    """Add what `models` understands: nothing or `list`, `get NAME...` and the acceptance of a licence."""
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS, help="list (default) or get")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"for get: {', '.join(known_names())}, or owner/name of the hub"
    )
    parser.add_argument(
        "--accept-licence",
        metavar="NAME",
        help=f"for get: you accept the licence of this name ({', '.join(licences())}), or of the model of this name, "
        "without which such models are neither fetched nor used (default: none)",
    )


def model_state(entry: CatalogueEntry, files: ModelFiles) -> str:
    """Where a model is, or that it can be fetched; and whether its licence must be accepted first."""
    state = str(entry.location or f"can be fetched ({entry.size_bytes / 1e9:.1f} GB)")
    refused = model_refusal(entry.name, files) is not None
    return state + f", once {entry.licence or 'its licence'} is accepted" * refused


def models_lines(files: ModelFiles) -> list[str]:
    """What is here and what can be fetched, a line each."""
    lines = [
        f"{entry.name:34} {'here: ' * bool(entry.location)}{model_state(entry, files)}" for entry in list_models(files)
    ]
    for name in supporting_models():
        folder = supporting_folder(name, files)
        lines.append(f"{name:34} {f'here: {folder}' if folder else 'fetched with the models that need it'}")
    matting = matting_model_path()
    lines.append(f"{U2NET:34} {f'here: {matting}' if matting.is_file() else 'can be fetched (0.2 GB)'}")
    return lines


def fetch_models(
    parsed: argparse.Namespace, files: ModelFiles, *, progress: Callable[[], AbstractContextManager[Progress]]
) -> list[str]:
    """Fetch the named models one after another; returns a line for each place, and for a licence that is accepted.

    Raises InvalidInputError for no or another name, LicenceError, FetchError when a model is not to be had.
    """
    if not parsed.names and parsed.accept_licence is None:
        raise InvalidInputError(f"{STARTER} models get needs a name: {', '.join(known_names())}.")
    lines = []
    if parsed.accept_licence is not None:
        licence = accept_licence(parsed.accept_licence, files)
        lines = [f"Accepted: {licence.title}.", *licence.terms]
    for name in parsed.names:
        with progress() as reports:
            places = get_model(name, runtime=files, progress=reports)
        lines += [f"{name}: {place}" for place in places]
    return lines

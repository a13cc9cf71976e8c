"""Names of a package that are imported at their first use."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def importer(package: str, names: Mapping[str, Collection[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of `package`; `names` by the module that has them.

    It keeps what takes seconds to import (torch, say) away from programs that do not use it.
    """

    def find(name: str) -> Any:
        for module, known in names.items():
            if name in known:
                return getattr(import_module(f"{package}.{module}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find

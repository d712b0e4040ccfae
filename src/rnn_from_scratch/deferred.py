"""Modules that are not read from disk before something of them is wanted, so that importing the package stays cheap.

Training and prediction need a part of the package; saving, checkpoints, metrics, streams and the rest are imported when they
are first used, all of them by the two functions of this file, next to an import that only type checkers see::

    if TYPE_CHECKING:
        from rnn_from_scratch import model_files
    else:
        model_files = deferred_module("rnn_from_scratch.model_files")
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["deferred_module", "deferred_names"]


class _DeferredModule(ModuleType):
    """Stands for a module of this name, and imports it to answer for it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what tools ask of every object is no reason to import
            raise AttributeError(f"module {self.__name__!r} is not imported yet, and has no attribute {name!r}")
        return getattr(import_module(self.__name__), name)  # which waits while another thread imports it


def deferred_module(name: str) -> Any:
    """The module of this full name, imported when an attribute of it is first asked for.

    >>> colours = deferred_module("colorsys")
    >>> colours.rgb_to_hsv(1.0, 1.0, 1.0)
    (0.0, 0.0, 1.0)
    """
    return _DeferredModule(name, None)


if TYPE_CHECKING:
    import pkgutil
else:
    pkgutil = deferred_module("pkgutil")


def deferred_names(
    package: str, offered: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package (PEP 562) whose modules are imported when asked for.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    offered : mapping of str to sequence of str
        The names that the package offers from each of its modules, beside the modules themselves.

    Examples
    --------
    >>> get, names = deferred_names("xml", {"sax.saxutils": ("escape",)})
    >>> get("escape")("1 < 2"), get("dom").__name__, {"dom", "escape"} <= set(names())
    ('1 &lt; 2', 'xml.dom', True)
    >>> get("doom")
    Traceback (most recent call last):
    AttributeError: module 'xml' has no attribute 'doom'
    """
    where = {name: module for module, names in offered.items() for name in names}

    def get(name: str) -> Any:
        try:
            if name in where:
                value = getattr(import_module(f"{package}.{where[name]}"), name)
            elif not name.startswith("_"):
                value = import_module(f"{package}.{name}")
            else:
                raise AttributeError(_missing(package, name))
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":  # a module is there, and something that it needs is not
                raise
            raise AttributeError(_missing(package, name)) from None
        vars(sys.modules[package])[name] = value  # the next time nobody has to ask
        return value

    def names() -> list[str]:
        modules = (module.name for module in pkgutil.iter_modules(sys.modules[package].__path__))
        return sorted({*vars(sys.modules[package]), *where, *(name for name in modules if not name.startswith("_"))})

    return get, names


def _missing(package: str, name: str) -> str:
    return f"module {package!r} has no attribute {name!r}"

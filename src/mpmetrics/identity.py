"""What other processes know a registry by: its name, its module and place there, or nothing."""

from __future__ import annotations

import secrets
import sys
import weakref
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

from . import multiprocdir

if TYPE_CHECKING:
    from types import FrameType

_PACKAGE = __name__.partition(".")[0]


class Identity:
    """How a store knows a registry, and what this process has declared in it."""

    def __init__(self, name: str, private: bool) -> None:
        self.name = name
        self.private = private
        self._declared: weakref.WeakKeyDictionary[object, set[str]] = weakref.WeakKeyDictionary()

    def declared(self, registry: object) -> set[str]:
        """Every sample name that this process has ever declared in this object."""
        return self._declared.get(registry, set())

    def note(self, registry: object, names: Iterable[str]) -> bool:
        """Remembers that this process declares these names in this object.

        True if it had done so before, and so must have let them go, and no other object of this
        identity has them."""
        taken = set(names)
        mine = self._declared.setdefault(registry, set())
        again = taken <= mine and not any(
            taken & names for other, names in self._declared.items() if other is not registry
        )
        mine |= taken
        return again

    def withdraw(self, registry: object, names: Iterable[str]) -> None:
        """This process doesn't declare them in this object after all."""
        self._declared[registry] -= set(names)


_identities: weakref.WeakKeyDictionary[object, Identity] = weakref.WeakKeyDictionary()
_by_name: weakref.WeakValueDictionary[str, Identity] = weakref.WeakValueDictionary()
_identities[REGISTRY] = Identity("", private=False)
_unnamed: Counter[str] = Counter()  # registries without a name, by module


def _named(name: str) -> Identity:
    """The one identity of that name; objects of one name are one registry to other processes."""
    identity = _by_name.get(name)
    if identity is None:
        identity = _by_name[name] = Identity(name, private=False)
    return identity


def known(registry: object) -> Identity | None:
    """The registry's identity; None of an unnamed one before its first declaration."""
    return _identities.get(registry)


def give_name(registry: object, name: str) -> None:
    """Other processes know the registry by that name from now on."""
    _identities[registry] = _named("named:" + name)


def identity_of(registry: object | None, first: str = "") -> Identity:
    """
    The registry's identity; an unnamed one gets its own at its first declaration.

    None: of a metric without a registry, for that one alone. `first` says what is declared.
    """
    if registry is None:
        return _of_caller(sys._getframe(1), first)
    identity = _identities.get(registry)
    if identity is None:
        frame = sys._getframe(1)
        module = _module_being_imported(frame)
        if module is None:
            identity = _of_caller(frame, first)
        else:
            identity = _named(f"module:{module}:{_unnamed[module]}")
            _unnamed[module] += 1
        _identities[registry] = identity
    return identity


def _of_caller(frame: FrameType | None, first: str) -> Identity:
    """One that no other registry, of any process, ever has.

    In a program of prometheus_client's multi-process mode, which adds up all registries and keeps
    what the dead counted, one that all processes have which first declare the same at this place:
    dramatiq makes a registry in a function of each worker."""
    frame = _outside(frame)
    if multiprocdir.is_mode() and frame is not None:
        module = _name_of(frame.f_globals.get("__name__", ""))
        return _named(f"function:{module}.{frame.f_code.co_qualname}:{first}")
    return Identity("private:" + secrets.token_hex(8), private=True)


def _outside(frame: FrameType | None) -> FrameType | None:
    """The frame that called into this package."""
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == _PACKAGE:
        frame = frame.f_back
    return frame


def _name_of(module: str) -> str:
    # spawn and forkserver import the parent's __main__ under this name.
    return "__main__" if module == "__mp_main__" else module


def _module_being_imported(frame: FrameType | None) -> str | None:
    """The module whose top level is running, below the frames of this package.

    Top level, or a function called from it: then the import system is what called the module.
    The top level of a script has no such caller, and everything runs below it; so there only
    code that stands at the top level itself counts."""
    first = frame = _outside(frame)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            caller = frame.f_back
            imported = caller is not None and caller.f_code.co_filename.startswith(
                "<frozen importlib"
            )
            if imported or frame is first:
                return _name_of(frame.f_globals.get("__name__", ""))
        frame = frame.f_back
    return None

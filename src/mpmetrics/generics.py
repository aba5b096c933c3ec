"""
Classes parametrised by classes and numbers, made on demand, that pickle finds by name alone.

`Array[Int64, 5]` has the `__qualname__` `Array.<.mpmetrics.types.Int64.>.5`.  Pickle imports the
module, splits the name at its dots and takes one attribute after the other; so the generic answers
the attribute `<` with a path that remembers what it has been asked, and the last attribute is the
class.  No name is looked up in a table that only one process has: any process makes the class that
the name says, once, and has it from then on.

What a name may do: import the modules that it names, and call `make` of the generics that it
names.  Each step must lead to a module, a class or a generic; everything else (a function, an
instance, `__class__`, a name with unmatched brackets or more than 64 of them nested) is refused
with AttributeError.  Nothing is called, no metaclass or descriptor is asked.
"""

from __future__ import annotations

import copyreg
import importlib
import operator
import os
import re
import sys
import threading
import weakref
from abc import ABCMeta
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, Generic, Protocol, TypeVar

__all__ = ["FloatType", "GenericMeta", "IntType", "ListType", "ObjectType", "ProductType"]

T = TypeVar("T")

_MAX_NESTING = 64
_INT: Final = re.compile(r"[+-]?[0-9]{1,4000}", re.ASCII)  # int() itself refuses more
_FLOAT: Final = re.compile(
    r"[+-]?(?:[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?|[0-9]+e[+-]?[0-9]+|inf|nan)", re.ASCII | re.IGNORECASE
)
_PROGRAM = ("__main__", "__mp_main__")  # other modules in other processes, of loky for one

# Held while `make` runs, so that it runs once; never while a module is imported, since whoever
# imports that one may be waiting for us.  Its own in a forked child, which may be born locked.
_making = threading.RLock()


def _after_fork() -> None:
    global _making
    _making = threading.RLock()


if hasattr(os, "register_at_fork"):  # laptops have generics, too
    os.register_at_fork(after_in_child=_after_fork)

# ---- the parameters and how they are written -----------------------------------------------------


class _More:
    """The answer of `read` to a beginning: there must be more."""


_MORE: Final = _More()


class _Kind(Protocol):
    """A kind of parameter."""

    @staticmethod
    def key(parameter: Any) -> tuple[Any, Any]:
        """The parameter as `make` gets it, and what is equal for equal ones; or TypeError."""

    @staticmethod
    def write(parameter: Any) -> str:
        """Its part of a qualname."""

    @staticmethod
    def read(parts: tuple[str, ...]) -> Any:
        """The parameter written so, `_MORE` if more must follow, or AttributeError."""


class _Object:
    @staticmethod
    def key(parameter: Any) -> tuple[Any, Any]:
        if not isinstance(parameter, type):
            raise TypeError(f"{parameter!r} is no class")
        return parameter, parameter

    @staticmethod
    def write(parameter: Any) -> str:
        path = f"{parameter.__module__}.{parameter.__qualname__}"
        depth, deepest = _nesting(path.split("."))
        # Of the characters, too: `<locals>` is whole, `C<` is not.
        if depth or _nesting([c for c in path if c in "<>"])[0]:
            raise TypeError(f"the name of {parameter!r} has unmatched brackets")
        if deepest >= _MAX_NESTING:
            raise TypeError(f"{parameter!r} is nested more than {_MAX_NESTING} deep")
        return f"<.{path}.>"

    @staticmethod
    def read(parts: tuple[str, ...]) -> Any:
        if parts[0] != "<":
            raise AttributeError(f"{parts[0]!r} stands where '<' should")
        depth, deepest = _nesting(parts)
        if deepest > _MAX_NESTING:
            raise AttributeError(f"nested more than {_MAX_NESTING} deep")
        return _class_at(parts[1:-1]) if depth == 0 else _MORE


class _Int:
    @staticmethod
    def key(parameter: Any) -> tuple[Any, Any]:
        value = operator.index(parameter)
        return value, value

    @staticmethod
    def write(parameter: Any) -> str:
        return str(parameter)

    @staticmethod
    def read(parts: tuple[str, ...]) -> Any:
        if not _INT.fullmatch(parts[0]):
            raise AttributeError(f"{parts[0]!r} is no integer")
        return int(parts[0])


class _Float:
    @staticmethod
    def key(parameter: Any) -> tuple[Any, Any]:
        if isinstance(parameter, str | bytes | bytearray):
            raise TypeError(f"{parameter!r} is no number")
        value = float(parameter)
        return value, repr(value)  # 0.0 == -0.0, nan != nan

    @staticmethod
    def write(parameter: Any) -> str:
        return repr(parameter)

    @staticmethod
    def read(parts: tuple[str, ...]) -> Any:
        text = ".".join(parts)
        if _FLOAT.fullmatch(text):
            return float(text)
        if len(parts) == 1 and _INT.fullmatch(text):
            return _MORE
        raise AttributeError(f"{text!r} is no float")


def _nesting(parts: Any) -> tuple[int, int]:
    """How many brackets are open at the end, -1 if one closes that isn't open; the most open."""
    depth = deepest = 0
    for part in parts:
        depth += (part == "<") - (part == ">")
        if depth < 0:
            return -1, deepest
        deepest = max(depth, deepest)
    return depth, deepest


# ---- from a name to a class ----------------------------------------------------------------------


def _class_at(parts: tuple[str, ...]) -> type:
    """The class of that full name; imports the modules that it names."""
    name = ".".join(parts)
    here: Any = _module(parts[0]) if parts else None
    for part in parts[1:]:
        if isinstance(here, ModuleType):
            here = _in_module(here, part)
        elif isinstance(here, type):
            here = _in_class(here, part)
        elif isinstance(here, _Generic | _Path):
            here = getattr(here, part)
        else:
            break
    if not isinstance(here, type):
        raise AttributeError(f"{name!r} names no class")
    return here


def _module(name: str) -> ModuleType:
    if name not in sys.modules and not all(part.isidentifier() for part in name.split(".")):
        raise AttributeError(f"{name!r} names no module")
    try:
        found: Any = importlib.import_module(name)  # waits if another thread is just at it
    except ImportError as error:
        raise AttributeError(f"{name!r} can't be imported: {error}") from error
    if not isinstance(found, ModuleType):
        raise AttributeError(f"{name!r} is no module")
    return found


def _in_module(module: ModuleType, part: str) -> Any:
    """A submodule, if there is one and no class has its name; else the attribute."""
    full = f"{module.__name__}.{part}"
    if full in sys.modules:
        return _module(full)
    if _is_dunder(part):
        raise AttributeError(f"{full!r} is refused")
    if hasattr(module, "__path__") and not isinstance(vars(module).get(part), type | _Generic):
        try:
            return _module(full)
        except AttributeError as error:
            if not _is_absent(error, full):
                raise
    return getattr(module, part)


def _is_absent(error: AttributeError, name: str) -> bool:
    """Is it that there is no such module, and not that one is broken?"""
    cause = error.__cause__
    return not isinstance(cause, ImportError) or (
        isinstance(cause, ModuleNotFoundError) and cause.name == name
    )


def _in_class(cls: type, part: str) -> Any:
    """A class or generic that stands in a class; asks nothing that could answer with code."""
    if not _is_dunder(part):
        for base in cls.__mro__:
            found = vars(base).get(part)
            if found is not None:
                return found
    raise AttributeError(f"{cls!r} has no class {part!r}")


def _is_dunder(part: str) -> bool:
    return part.startswith("__") and part.endswith("__")


class _Path:
    """What a generic has been asked so far, on the way to a class."""

    def __init__(self, generic: _Generic[Any], done: tuple[Any, ...], parts: tuple[str, ...]):
        self.__generic = generic
        self.__done = done  # the parameters already read
        self.__parts = parts  # of the one that is being read

    def __getattr__(self, part: str) -> Any:
        if _is_dunder(part) and part not in _PROGRAM:  # of Python's own asking
            raise AttributeError(part)
        return self.__generic._step(self.__done, (*self.__parts, part))

    def __getitem__(self, parameters: Any) -> Any:
        if self.__parts:
            raise TypeError(f"{self!r} is no class yet")
        return self.__generic._apply((*self.__done, *_as_tuple(parameters)))

    __iter__ = None  # as _Generic's
    __contains__ = None

    def __reduce__(self) -> Any:
        # Protocols below 4 pickle a dotted name as getattr(what comes before, the last part).
        return _Path, (self.__generic, self.__done, self.__parts)

    def __repr__(self) -> str:
        return f"<{self.__generic!r} of {self.__done}, {'.'.join(self.__parts)!r}>"


# ---- the generics --------------------------------------------------------------------------------


def _as_tuple(parameters: Any) -> tuple[Any, ...]:
    return parameters if isinstance(parameters, tuple) else (parameters,)


class _Generic(Generic[T]):
    _kinds: tuple[_Kind, ...]

    def __init__(self, name: str, make: Callable[..., T], module: str | None = None) -> None:
        # As collections.namedtuple does: pickle needs the module that this name stands in.
        self.__module__ = module or _caller()
        self.__qualname__ = name
        self.__name__ = name.rpartition(".")[2]
        self._make = make
        self._made: dict[Any, T] = {}

    def __getattr__(self, part: str) -> Any:
        if part.startswith("_"):  # of Python's own asking; not ours in any kind of name
            raise AttributeError(f"{type(self).__name__} has no attribute {part!r}")
        return self._step((), (part,))

    def __getitem__(self, parameters: Any) -> Any:
        return self._apply(_as_tuple(parameters))

    # Otherwise Python asks for [0], [1], and so on, and an IntType makes a class for each.
    __iter__ = None
    __contains__ = None

    def _step(self, done: tuple[Any, ...], parts: tuple[str, ...]) -> Any:
        """The class of what has been asked, or the path on which to ask on."""
        try:
            value = self._kinds[len(done)].read(parts)
            if value is _MORE:
                return _Path(self, done, parts)
            done = (*done, value)
            return _Path(self, done, ()) if len(done) < len(self._kinds) else self._get(done)
        except (TypeError, ValueError, RecursionError) as error:  # of make, too
            raise AttributeError(f"{self!r} has no {'.'.join(parts)!r}: {error}") from error

    def _apply(self, parameters: tuple[Any, ...]) -> Any:
        if len(parameters) > len(self._kinds):
            raise TypeError(f"{self!r} takes {len(self._kinds)} parameters, not {len(parameters)}")
        done = tuple(kind.key(each)[0] for kind, each in zip(self._kinds, parameters, strict=False))
        return _Path(self, done, ()) if len(done) < len(self._kinds) else self._get(done)

    def _get(self, parameters: tuple[Any, ...]) -> T:
        """What `make` made of these, made now if it isn't there yet."""
        kinds = self._kinds_of(parameters)
        key = tuple(kind.key(each)[1] for kind, each in zip(kinds, parameters, strict=True))
        try:
            return self._made[key]
        except KeyError:
            pass
        written = [kind.write(each) for kind, each in zip(kinds, parameters, strict=True)]
        qualname = self._qualname(written)
        with _making:
            if key not in self._made:
                made = self._make(qualname, *parameters)
                self._name(made, qualname, parameters)
                if isinstance(made, GenericMeta):
                    _origins[made] = self, parameters
                self._made[key] = made  # whole: from here on, others find it without the lock
            return self._made[key]

    def _kinds_of(self, parameters: tuple[Any, ...]) -> tuple[_Kind, ...]:
        return self._kinds

    def _qualname(self, written: list[str]) -> str:
        return ".".join((self.__qualname__, *written))

    def _name(self, made: T, qualname: str, parameters: tuple[Any, ...]) -> None:
        """A class statement in a function gives a name that nobody finds: here is a better one."""
        if isinstance(made, type) and made not in parameters:
            if "<locals>" in made.__qualname__:
                made.__qualname__ = qualname
            if made.__qualname__ == qualname:
                made.__module__ = self.__module__

    def __reduce__(self) -> Any:
        if self.__module__ in _PROGRAM:
            # By name where that leads here; where cloudpickle sends us to another program, anew.
            return _rebuilt, (*self._arguments(), self.__module__)
        return self.__qualname__

    def _arguments(self) -> tuple[Any, ...]:
        return type(self), self.__qualname__, self._make, None

    def __repr__(self) -> str:
        return f"{self.__module__}.{self.__qualname__}"


class ObjectType(_Generic[T]):
    """
    `G = ObjectType("G", make)`: `G[C]` is what `make("G.<.module.C.>", C)` returned, called once.

    A class whose name has unmatched brackets is a TypeError.  Kept as long as the program runs.
    """

    _kinds = (_Object,)


class IntType(_Generic[T]):
    """`G = IntType("G", make)`: `G[5]` is what `make("G.5", 5)` returned, called once."""

    _kinds = (_Int,)


class FloatType(_Generic[T]):
    """`G = FloatType("G", make)`: `G[1.5]` is what `make("G.1.5", 1.5)` returned, called once."""

    _kinds = (_Float,)


class ProductType(_Generic[T]):
    """
    One parameter after the other: `G = ProductType("G", make, (ObjectType, IntType))`.

    `G[C, 5]`, or `G[C][5]`, is what `make("G.<.module.C.>.5", C, 5)` returned, called once.
    """

    def __init__(
        self,
        name: str,
        make: Callable[..., T],
        kinds: tuple[type[_Generic[Any]], ...],
        module: str | None = None,
    ) -> None:
        super().__init__(name, make, module or _caller())
        self._types = tuple(kinds)
        self._kinds = tuple(_kind_of(each) for each in self._types)
        if not self._kinds:
            raise TypeError("a ProductType needs a parameter")

    def _arguments(self) -> tuple[Any, ...]:
        return type(self), self.__qualname__, self._make, self._types


class ListType(_Generic[T]):
    """
    Any number of parameters of one kind: `G = ListType("G", make, IntType)`.

    `G[1, 2]` is what `make("G.<.1.2.>", 1, 2)` returned, called once; `G[()]` is that of none.
    """

    def __init__(
        self,
        name: str,
        make: Callable[..., T],
        kind: type[_Generic[Any]],
        module: str | None = None,
    ) -> None:
        super().__init__(name, make, module or _caller())
        self._type = kind
        self._kind = _kind_of(kind)

    def _step(self, done: tuple[Any, ...], parts: tuple[str, ...]) -> Any:
        try:
            if parts[0] != "<":
                raise AttributeError(f"{parts[0]!r} stands where '<' should")
            if len(parts) == 1:
                return _Path(self, done, parts)
            if parts[1:] == (">",):
                return self._get(done)
            value = self._kind.read(parts[1:])
            if value is _MORE:
                return _Path(self, done, parts)
            return _Path(self, (*done, value), ("<",))
        except (TypeError, ValueError, RecursionError) as error:
            raise AttributeError(f"{self!r} has no {'.'.join(parts)!r}: {error}") from error

    def _apply(self, parameters: tuple[Any, ...]) -> T:
        return self._get(tuple(self._kind.key(each)[0] for each in parameters))

    def _kinds_of(self, parameters: tuple[Any, ...]) -> tuple[_Kind, ...]:
        return (self._kind,) * len(parameters)

    def _qualname(self, written: list[str]) -> str:
        return ".".join((self.__qualname__, "<", *written, ">"))

    def _arguments(self) -> tuple[Any, ...]:
        return type(self), self.__qualname__, self._make, self._type


def _kind_of(generic: type[_Generic[Any]]) -> _Kind:
    if generic not in (ObjectType, IntType, FloatType):
        raise TypeError(f"{generic!r} is none of ObjectType, IntType, FloatType")
    return generic._kinds[0]


def _caller() -> str:
    """The first module on the stack that isn't this one."""
    depth = 1
    while (frame := sys._getframe(depth)).f_globals is globals():
        depth += 1
    return str(frame.f_globals.get("__name__", "__main__"))


# ---- programs that are other programs elsewhere --------------------------------------------------


class GenericMeta(ABCMeta):
    """
    The class of classes that also reach a process with another `__main__`.

    cloudpickle sends a class of the program itself by value, but what a generic made of it by its
    name, which leads nowhere there.  Classes of this class go as the generic and its parameters
    then.
    """

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> GenericMeta:
        # `type(name, bases, {...})` takes the module from its caller, which would be abc.
        caller = sys._getframe(1).f_globals.get("__name__", "__main__")
        return super().__new__(mcls, name, bases, {"__module__": caller, **namespace}, **kwargs)


_origins: weakref.WeakKeyDictionary[type, tuple[_Generic[Any], tuple[Any, ...]]]
_origins = weakref.WeakKeyDictionary()
_others: dict[tuple[str, str], _Generic[Any]] = {}  # of other programs


def _reduce_class(cls: type) -> Any:
    generic, parameters = _origins.get(cls, (None, ()))
    if generic is None or generic.__module__ in _PROGRAM or not _names_program(parameters):
        return cls.__qualname__
    return operator.getitem, (generic, parameters)


def _names_program(parameters: tuple[Any, ...]) -> bool:
    for each in parameters:
        if isinstance(each, type):
            path = f"{each.__module__}.{each.__qualname__}".split(".")
            if not {*_PROGRAM, "<locals>"}.isdisjoint(path):
                return True
    return False


def _rebuilt(
    cls: Callable[..., _Generic[Any]], name: str, make: Callable[..., Any], kinds: Any, module: str
) -> _Generic[Any]:
    """The generic of that name in this program, or one of its own if there is none."""
    try:
        found: Any = operator.attrgetter(name)(sys.modules[module])
    except (AttributeError, KeyError):
        found = None
    if isinstance(found, _Generic) and type(found) is cls:
        return found
    with _making:
        if (module, name) not in _others:
            more = () if kinds is None else (kinds,)
            _others[module, name] = cls(name, make, *more, module=module)
        return _others[module, name]


copyreg.pickle(GenericMeta, _reduce_class)

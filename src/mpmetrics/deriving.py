"""Classes that extend prometheus_client's metrics by its private methods: they stay its own.

A subclass of Counter to Enum counts for all processes, as its base does. One that overrides what
only prometheus_client's class has and calls (`_metric_init`, `_child_samples`, ...) decides itself
what is counted, in attributes of its own: it is derived from prometheus_client's class in the place
of ours and counts for one process, as without us, and one line in the log says so. The same for
whatever is derived from MetricWrapperBase, which does nothing else.
"""

from __future__ import annotations

import functools
import inspect
import logging
from abc import ABCMeta
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import prometheus_client

from . import _native, originals

log = logging.getLogger("mpmetrics")

_Class = TypeVar("_Class")

# What prometheus_client's classes are made by. Ours must derive from it: else a class of a metric
# and of something else (an ABC, a Protocol) would be refused that prometheus_client's would allow.
if TYPE_CHECKING:
    _OriginalType = ABCMeta
else:
    _OriginalType = type(originals.MetricWrapperBase)


@functools.cache
def _originals() -> dict[type, Any]:
    """Each class of ours, and prometheus_client's of that name."""
    names = ("Counter", "Gauge", "Summary", "Histogram", "Info", "Enum")
    return {getattr(_native, name): getattr(originals, name) for name in names}


class MetricType(_OriginalType):
    """
    What Counter to Enum are instances of; the extension gives it to them.

    prometheus_client's own class and what is derived from it count as subclasses of ours: so a
    program's isinstance() says what it says without us, whichever of the two a metric is of.
    """

    def __new__(
        metatype, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> Any:
        ours = next((cls for base in bases for cls in base.__mro__ if cls in _originals()), None)
        hooks = _overridden(ours, bases, namespace) if ours else []
        if ours and hooks:
            cls = f"{namespace.get('__module__')}.{namespace.get('__qualname__', name)}"
            by = f"{ours.__name__} by {', '.join(hooks)}"
            _refuse_class_between(cls, ours, by, bases)
            _say(cls, by)
            bases = tuple(_originals().get(base, base) for base in bases)
        return super().__new__(metatype, name, bases, namespace, **kwargs)

    def register(cls, subclass: type[_Class]) -> type[_Class]:
        """As an ABC's. Counter to Enum themselves refuse: C has made them, not ABCMeta."""
        if cls in _originals():
            raise TypeError(
                f"{subclass!r} can't be registered as a subclass of {cls.__name__}: derive it,"
                " or register it with a subclass of yours"
            )
        return super().register(subclass)

    def __instancecheck__(cls, instance: object) -> bool:
        original = _originals().get(cls)
        if original is None:
            # Not that of typing.Protocol, which asks for what only its own classes have.
            return ABCMeta.__instancecheck__(cls, instance)
        return any(type.__instancecheck__(each, instance) for each in (cls, original))

    def __subclasscheck__(cls, subclass: type) -> bool:
        original = _originals().get(cls)
        if original is None:
            return ABCMeta.__subclasscheck__(cls, subclass)
        return any(type.__subclasscheck__(each, subclass) for each in (cls, original))


def _refuse_class_between(cls: str, ours: type, by: str, bases: Iterable[type]) -> None:
    """Raises TypeError if the hooks come on top of a class that counts for all processes."""
    between = next(base for base in bases if ours in base.__mro__)
    if between is not ours:
        raise TypeError(
            f"{cls} extends prometheus_client's {by}, but the class between the two, "
            f"{between.__name__}, counts for all processes.\n"
            f"Derive {cls} from {ours.__name__} itself, or leave the program as it is: "
            "mpmetrics run --no-patch"
        )


def _overridden(ours: type, bases: Iterable[type], namespace: dict[str, object]) -> list[str]:
    """Which of the private methods of prometheus_client's class, that ours has not, are in it."""
    hooks = {
        name
        for cls in _originals()[ours].__mro__
        if cls.__module__.partition(".")[0] == prometheus_client.__name__
        for name, value in vars(cls).items()
        if name.startswith("_") and not name.endswith("__") and inspect.isfunction(value)
    }
    found = set(namespace).union(*(dir(base) for base in bases))
    overridden = sorted(name for name in hooks & found if not hasattr(ours, name))
    if namespace.get("_type", ours._type) != ours._type:  # type: ignore[attr-defined]
        overridden.append("_type")
    return overridden


_said: set[str] = set()  # the classes that stay prometheus_client's in this process


def _say(cls: str, what: str) -> None:
    """One line, once: a function may make the same class at each call."""
    if cls not in _said:
        _said.add(cls)
        log.warning(
            "%s extends prometheus_client's %s: its metrics count for one process only", cls, what
        )


class _WrapperType(_OriginalType):
    """Our metrics count as instances of prometheus_client's base class, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        if cls is MetricWrapperBase:
            return cls.__subclasscheck__(type(instance))
        return bool(super().__instancecheck__(instance))

    def __subclasscheck__(cls, subclass: type) -> bool:
        if cls is MetricWrapperBase:
            # type's own check: that of an ABC asks all its subclasses, and so this one again.
            return isinstance(subclass, MetricType) or type.__subclasscheck__(
                originals.MetricWrapperBase, subclass
            )
        return super().__subclasscheck__(subclass)


class MetricWrapperBase(originals.MetricWrapperBase, metaclass=_WrapperType):
    """prometheus_client's base class, for programs that ask for it or derive from it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _say(f"{cls.__module__}.{cls.__qualname__}", MetricWrapperBase.__name__)

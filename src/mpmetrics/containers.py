"""
Object, Dict and List: ordinary Python values in a heap, seen by every process that has the box.

Each has a lock of its own, and two links to the blocks that hold its contents, pickled:

    | lock | changes | link 0 | link 1 |

The contents are those of link `changes & 1`; a link that names no block is empty.  Who changes
them, with the lock held, takes a block for the idle link, fills it, adds one to `changes`, the
commit, and gives the old block back.  The heap takes a block and names it in the link in one step
(mpm_block_link in native/block.c).  So whoever is killed in the middle leaves the old contents or
the new ones, and perhaps a block at the idle link, which the next change gives back.

A process keeps the last contents that it has read, and reads again when `changes` has moved.  Each
value is pickled by itself, and unpickled when somebody asks for it: nobody gets an object that
another one has, too, so changing what one got changes nothing here.  A change writes the whole
contents: this is for hundreds of values, not for millions.
"""

from __future__ import annotations

import contextlib
import operator
import pickle
import threading
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    MutableMapping,
    MutableSequence,
    ValuesView,
)
from typing import Any, Generic, Self, TypeVar

from .lock import Lock
from .view import View

__all__ = ["Dict", "List", "Object"]

C = TypeVar("C")  # the contents, as a process keeps them: values pickled

_CHANGES = (Lock.size + 7) // 8 * 8  # where that word is
_LINKS = _CHANGES + 8
_LINK = 24  # bytes: mpm_link in native/users.h

_thread = threading.local()  # `shown`: the contents that this thread is just making a repr of


def _dumps(value: object) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


class _Contents(View, Generic[C]):
    """What the three have in common: contents that are replaced as a whole."""

    size = _LINKS + 2 * _LINK
    align = max(8, Lock.align)
    _needs_heap = True
    _owns = True

    def _setup(self, mem: memoryview) -> None:
        super()._setup(mem)
        self._lock = Lock._attach(mem[: Lock.size], self._heap)
        self._changes = mem[_CHANGES:_LINKS].cast("Q")
        self._links = mem[_LINKS : _LINKS + _LINK], mem[_LINKS + _LINK :]
        self._seen: tuple[int, C] = 0, self._empty()

    def _empty(self) -> C:
        """New and empty contents."""
        raise NotImplementedError

    def _now(self) -> C:
        """The contents; never to be changed."""
        changes, contents = self._seen
        if changes != self._changes[0]:
            with self._lock:
                changes, data = self._changes[0], self._load()
            contents = pickle.loads(data) if data else self._empty()
            self._seen = changes, contents
        return contents

    @contextlib.contextmanager
    def _changing(self, copy: Callable[[C], C]) -> Iterator[C]:
        """A copy of the contents, which takes their place if nothing is raised."""
        with self._lock:
            changes, contents = self._seen
            if changes != self._changes[0]:
                data = self._load()
                contents = pickle.loads(data) if data else self._empty()
            contents = copy(contents)
            yield contents
            self._replace(contents)

    def _as_pythons(self) -> Any:
        """An ordinary value of the same contents."""
        raise NotImplementedError

    def __repr__(self) -> str:
        # reprlib.recursive_repr knows an object again, and who unpickles a box that is in its own
        # contents has another one each time. What stays is the block that the link names.
        assert self._heap is not None
        shown = vars(_thread).setdefault("shown", set())
        contents = self._heap.identity, bytes(self._links[self._changes[0] & 1])
        name = type(self).__name__
        if contents in shown:
            return f"{name}(...)"
        shown.add(contents)
        try:
            return f"{name}({self._as_pythons()!r})"
        finally:
            shown.remove(contents)

    # The lock held.

    def _replace(self, contents: C) -> None:
        self._store(_dumps(contents) if contents else b"")
        self._seen = self._changes[0], contents

    def _load(self) -> bytes:
        assert self._heap is not None
        block = self._heap._linked(self._links[self._changes[0] & 1])
        return b"" if block is None else bytes(block)

    def _store(self, data: bytes) -> None:
        assert self._heap is not None
        changes = self._changes[0]
        old, new = self._links[changes & 1], self._links[changes + 1 & 1]
        self._heap._unlink(new)  # left by one who was killed
        if data:
            self._heap._link(new, len(data))[:] = data
        self._changes[0] = changes + 1
        self._heap._unlink(old)

    def _release(self) -> None:
        assert self._heap is not None
        with self._lock:
            for link in self._links:
                self._heap._unlink(link)


class Object(_Contents[bytes]):
    """
    One value of any kind that pickles: `o.value`, first None.

    Each reading gives a new object; to change what is here, set `value`.
    """

    __module__ = "mpmetrics.types"  # where users know it; pickles say so

    def __init__(self, mem: Any, value: object = None) -> None:
        super().__init__(mem)
        if value is not None:
            self.value = value

    def _empty(self) -> bytes:
        return b""

    @property
    def value(self) -> Any:
        """What was set last."""
        data = self._now()
        return pickle.loads(data) if data else None

    @value.setter
    def value(self, value: object) -> None:
        data = b"" if value is None else _dumps(value)
        with self._lock:
            self._replace(data)

    def _as_pythons(self) -> Any:
        return self.value


class _Keys(KeysView[Any]):
    _mapping: Dict

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._mapping)


class _Items(ItemsView[Any, Any]):
    """Pairs of one moment: nothing is asked for that has gone since."""

    _mapping: Dict

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return ((key, pickle.loads(data)) for key, data in self._mapping._now().items())

    def __reversed__(self) -> Iterator[tuple[Any, Any]]:
        return ((key, pickle.loads(data)) for key, data in reversed(self._mapping._now().items()))


class _Values(ValuesView[Any]):
    """Values of one moment, as `_Items`."""

    _mapping: Dict

    def __contains__(self, value: object) -> bool:
        return any(each is value or each == value for each in self)

    def __iter__(self) -> Iterator[Any]:
        return map(pickle.loads, self._mapping._now().values())

    def __reversed__(self) -> Iterator[Any]:
        return map(pickle.loads, reversed(self._mapping._now().values()))


class Dict(_Contents[dict[Any, bytes]], MutableMapping[Any, Any]):
    """
    A dict in a heap, with all of dict's methods; each of them is one change that all see whole.

    Iteration is over the contents of one moment.  `copy`, `|` and `fromkeys` give ordinary dicts.
    """

    __module__ = "mpmetrics.types"  # where users know it; pickles say so

    def __init__(self, mem: Any, /, *args: Any, **kwargs: Any) -> None:
        super().__init__(mem)
        if args or kwargs:
            self.update(*args, **kwargs)

    def _empty(self) -> dict[Any, bytes]:
        return {}

    def __len__(self) -> int:
        return len(self._now())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._now())

    def __reversed__(self) -> Iterator[Any]:
        yield from reversed(self._now())

    def __contains__(self, key: object) -> bool:
        return key in self._now()

    def __getitem__(self, key: Any) -> Any:
        return pickle.loads(self._now()[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        data = _dumps(value)
        with self._changing(dict) as contents:
            contents[key] = data

    def __delitem__(self, key: Any) -> None:
        with self._changing(dict) as contents:
            del contents[key]

    def keys(self) -> KeysView[Any]:
        return _Keys(self)

    def items(self) -> ItemsView[Any, Any]:
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        return _Values(self)

    def clear(self) -> None:
        with self._changing(dict) as contents:
            contents.clear()

    def copy(self) -> dict[Any, Any]:
        """An ordinary dict of the same contents, those of one moment."""
        return dict(self.items())

    _as_pythons = copy

    @staticmethod
    def fromkeys(keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        """An ordinary dict, since nobody says here in which heap."""
        return dict.fromkeys(keys, value)

    def pop(self, key: Any, *default: Any) -> Any:
        if len(default) > 1:
            raise TypeError(f"pop takes at most 2 arguments, not {1 + len(default)}")
        try:
            with self._changing(dict) as contents:
                data = contents.pop(key)
        except KeyError:
            if default:
                return default[0]
            raise
        return pickle.loads(data)

    def popitem(self) -> tuple[Any, Any]:
        with self._changing(dict) as contents:
            if not contents:
                raise KeyError("popitem(): the Dict is empty")
            key, data = contents.popitem()
        return key, pickle.loads(data)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        known = self._now()
        if key in known:
            return pickle.loads(known[key])
        data = _dumps(default)
        with self._changing(dict) as contents:
            data = contents.setdefault(key, data)
        return pickle.loads(data)

    def update(self, /, *args: Any, **kwargs: Any) -> None:
        new = {key: _dumps(value) for key, value in dict(*map(_at_once, args), **kwargs).items()}
        with self._changing(dict) as contents:
            contents.update(new)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, dict | Dict):
            return NotImplemented
        return self.copy() | _at_once(other)

    def __ror__(self, other: Any) -> Any:
        if not isinstance(other, dict | Dict):
            return NotImplemented
        return dict(_at_once(other)) | self.copy()

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self


def _at_once(other: Any) -> Any:
    """What `dict` takes; a Dict's contents of one moment, not key by key."""
    return other.copy() if isinstance(other, Dict) else other


class List(_Contents[list[bytes]], MutableSequence[Any]):
    """
    A list in a heap, with all of list's methods; each of them is one change that all see whole.

    Iteration is over the contents of one moment.  `copy`, slices, `+` and `*` give ordinary lists.
    `sort`'s key and the elements' `==` run with the lock held: they mustn't use this List.
    """

    __module__ = "mpmetrics.types"  # where users know it; pickles say so

    def __init__(self, mem: Any, values: Iterable[Any] = ()) -> None:
        super().__init__(mem)
        values = list(values)
        if values:
            self.extend(values)

    def _empty(self) -> list[bytes]:
        return []

    def __len__(self) -> int:
        return len(self._now())

    def __iter__(self) -> Iterator[Any]:
        return map(pickle.loads, self._now())

    def __reversed__(self) -> Iterator[Any]:
        return map(pickle.loads, reversed(self._now()))

    def __contains__(self, value: object) -> bool:
        return value in self.copy()

    def __getitem__(self, index: Any) -> Any:
        data = self._now()[index]
        return list(map(pickle.loads, data)) if isinstance(data, list) else pickle.loads(data)

    def __setitem__(self, index: Any, value: Any) -> None:
        data: Any = list(map(_dumps, value)) if isinstance(index, slice) else _dumps(value)
        with self._changing(list) as contents:
            contents[index] = data

    def __delitem__(self, index: Any) -> None:
        with self._changing(list) as contents:
            del contents[index]

    def append(self, value: Any) -> None:
        data = _dumps(value)
        with self._changing(list) as contents:
            contents.append(data)

    def extend(self, values: Iterable[Any]) -> None:
        data = list(map(_dumps, values))
        with self._changing(list) as contents:
            contents.extend(data)

    def insert(self, index: int, value: Any) -> None:
        data = _dumps(value)
        with self._changing(list) as contents:
            contents.insert(index, data)

    def pop(self, index: int = -1) -> Any:
        with self._changing(list) as contents:
            data = contents.pop(index)
        return pickle.loads(data)

    def remove(self, value: Any) -> None:
        with self._changing(list) as contents:
            del contents[[pickle.loads(data) for data in contents].index(value)]

    def clear(self) -> None:
        with self._changing(list) as contents:
            contents.clear()

    def reverse(self) -> None:
        with self._changing(list) as contents:
            contents.reverse()

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        with self._changing(list) as contents:
            values = [pickle.loads(data) for data in contents]
            order = values if key is None else list(map(key, values))
            indices = sorted(range(len(order)), key=order.__getitem__, reverse=reverse)
            contents[:] = [contents[i] for i in indices]

    def copy(self) -> list[Any]:
        """An ordinary list of the same contents."""
        return list(self)

    _as_pythons = copy

    def index(self, value: Any, *limits: int) -> int:
        return self.copy().index(value, *limits)

    def count(self, value: Any) -> int:
        return self.copy().count(value)

    def __add__(self, other: Any) -> Any:
        return self.copy() + list(other) if isinstance(other, list | List) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return list(other) + self.copy() if isinstance(other, list | List) else NotImplemented

    def __iadd__(self, values: Iterable[Any]) -> Self:  # type: ignore[misc]  # as list's
        self.extend(values)
        return self

    def __mul__(self, times: Any) -> Any:
        return self.copy() * times

    __rmul__ = __mul__

    def __imul__(self, times: Any) -> Self:
        times = operator.index(times)
        with self._changing(list) as contents:
            contents *= times
        return self

    def _compare(self, other: Any, how: Callable[[Any, Any], Any]) -> Any:
        return how(self.copy(), list(other)) if isinstance(other, list | List) else NotImplemented

    def __eq__(self, other: object) -> Any:
        return self._compare(other, operator.eq)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, operator.lt)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, operator.le)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, operator.gt)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, operator.ge)

    __hash__ = None  # type: ignore[assignment]

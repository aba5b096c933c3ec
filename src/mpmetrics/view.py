"""
A view: the object through which one process uses a piece of memory.

To write a type, derive from View; all of this is what the types of this package do:

* Class attributes `size` and `align`, in bytes.
* Zero bytes are the first state.  `T(mem)` fills the memory with them and sets the view up; fields,
  elements and unpickling attach by `T._attach(mem, heap)`, which changes nothing and calls no
  `__init__`.
* `_setup(mem)` derives what the view needs, `mem` being a memoryview of exactly `size` bytes.
* There are many views of one memory, also in one process: nothing that matters stands in the view.
* What needs a heap says `_needs_heap = True` and finds it in `self._heap`.
* `_release()` gives back what the view holds besides its own bytes, before `Box.free` frees them;
  `_leave()` forgets where they were, after that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from .generics import GenericMeta

if TYPE_CHECKING:
    from .heap import Heap

__all__ = ["View", "check_type"]


_CHUNK = 1 << 20  # zeroed at once


class View(metaclass=GenericMeta):
    """
    What all types have in common.

    Over a `bytearray` a view pickles by value; over other memory it doesn't pickle, since nobody
    could know whose memory that is, but for a box.
    """

    size: ClassVar[int]
    align: ClassVar[int]
    _needs_heap: ClassVar[bool] = False
    _owns: ClassVar[bool] = False  # has a `_release` that does something
    _heap: Heap | None = None
    _mem: memoryview

    def __init__(self, mem: Any) -> None:
        view = self._checked(mem)
        self._check_heap()
        for start in range(0, len(view), _CHUNK):
            part = view[start : start + _CHUNK]
            part[:] = bytes(len(part))
        self._setup(view)

    @classmethod
    def _attach(cls, mem: Any, heap: Heap | None = None) -> Self:
        """A view of what is there already."""
        self = cls.__new__(cls)
        if heap is not None:
            self._heap = heap
        self._check_heap()
        self._setup(cls._checked(mem))
        return self

    @classmethod
    def _part(cls, mem: memoryview, heap: Heap | None) -> Self:
        """The same of a part of a view, where all of that has been looked at."""
        self = cls.__new__(cls)
        if heap is not None:
            self._heap = heap
        self._setup(mem)
        return self

    def _setup(self, mem: memoryview) -> None:
        self._mem = mem

    def _release(self) -> None:
        pass

    def _leave(self) -> None:
        pass

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if "_freed" in vars(self):
                raise ValueError(f"this {type(self).__name__} has been freed")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def _checked(cls, mem: Any) -> memoryview:
        """The first `size` bytes of it."""
        check_type(cls)
        view = memoryview(mem)
        if view.readonly:
            raise TypeError(f"{cls.__name__} needs memory that can be written")
        if view.ndim != 1 or view.format != "B" or not view.contiguous:
            view = view.cast("B")
        if len(view) < cls.size:
            raise ValueError(f"{cls.__name__} needs {cls.size} bytes, not {len(view)}")
        return view[: cls.size]

    def _check_heap(self) -> None:
        if self._needs_heap and self._heap is None:
            name = type(self).__name__
            raise TypeError(f"{name} lives in a heap only: Box[{name}](heap)")

    def __reduce__(self) -> Any:
        if not isinstance(self._mem.obj, bytearray):
            name = type(self).__name__
            raise TypeError(
                f"{name} over memory of somebody else's can't be pickled.\n"
                f"To share it with other processes, make it in a heap: Box[{name}](heap)"
            )
        return _restored, (type(self), bytes(self._mem))

    if TYPE_CHECKING:

        def free(self) -> None:
            """Of boxes only; here since no annotation can say "a T that is a Box, too"."""


def _restored(cls: type[View], content: bytes) -> View:
    return cls._attach(bytearray(content))


def check_type(cls: Any) -> None:
    """TypeError, unless it is a type that memory can be viewed as."""
    if not (isinstance(cls, type) and issubclass(cls, View)):
        raise TypeError(f"{cls!r} is no type of shared memory (see mpmetrics.types)")
    size, align = getattr(cls, "size", None), getattr(cls, "align", None)
    if not isinstance(size, int) or not isinstance(align, int):
        raise TypeError(f"{cls.__name__} has no size and alignment: derive from it")

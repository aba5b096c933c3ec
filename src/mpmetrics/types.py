"""
Types of shared memory: numbers, structs, arrays, and the box that puts one of them into a heap.

    T(mem)              a view over a writable buffer, which it sets to zero
    Box[T](heap)        the same in memory of the heap's; pickles as its block
    T._attach(mem)      a view of what is there: how fields, elements and pickles come to be

Reading or writing the `value` of one number is one access to memory: nobody sees half a number, if
the memory is aligned as a heap's is.  `x.value += 1` is two, between which another process can
write: for that there are the atomics (atomic.py) and the Lock (lock.py).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from struct import calcsize
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, TypeVar, overload

from .containers import Dict as Dict, List as List, Object as Object
from .generics import GenericMeta, IntType, ObjectType, ProductType
from .view import View, check_type

if TYPE_CHECKING:
    from .heap import Block, Heap

__all__ = [
    "Array", "Box", "Dict", "Double", "Int64", "List", "Object", "Size_t", "Struct", "UInt64",
]  # fmt: skip

T = TypeVar("T", bound=View)


# ---- numbers -------------------------------------------------------------------------------------


class _Number(View):
    """A view of 8 bytes; `value` reads and writes them."""

    size = 8
    align = 8
    _format: ClassVar[str]

    def _setup(self, mem: memoryview) -> None:
        super()._setup(mem)
        self._cell: Any = mem.cast(self._format)  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"

    @property
    def value(self) -> Any:
        """OverflowError for a number that doesn't fit, TypeError for what is none."""
        return self._cell[0]

    @value.setter
    def value(self, value: Any) -> None:
        try:
            self._cell[0] = value
        except ValueError as error:
            raise OverflowError(f"{value!r} doesn't fit in {type(self).__name__}") from error


class _Integer(_Number):
    if TYPE_CHECKING:
        value: int


class Int64(_Integer):
    """A signed integer of 64 bits."""

    _format = "q"


class UInt64(_Integer):
    """An unsigned integer of 64 bits."""

    _format = "Q"


class Size_t(_Integer):
    """C's `size_t`."""

    size = align = calcsize("N")
    _format = "N"


class Double(_Number):
    """C's `double`."""

    _format = "d"
    if TYPE_CHECKING:
        value: float


# ---- structs -------------------------------------------------------------------------------------


class _Field:
    """Stands in the class for the field; picklable, since cloudpickle sends classes by value."""

    def __init__(self, name: str, of: type[View], offset: int) -> None:
        self.name = name
        self.of = of
        self.offset = offset

    def __get__(self, struct: Any, owner: type | None = None) -> Any:
        if struct is None:
            return self
        try:
            return struct._views[self.name]
        except KeyError:
            mem = struct._mem[self.offset : self.offset + self.of.size]
            view = self.of._part(mem, struct._heap)
            return struct._views.setdefault(self.name, view)  # one for all threads

    def __set__(self, struct: Any, value: object) -> None:
        raise AttributeError(f"write to {self.name}.value, or what {self.of.__name__} has")

    def __repr__(self) -> str:
        return f"<{self.name}: {self.of.__name__} at {self.offset}>"


# What a view, or a box of it, has itself; `hasattr` sees the methods.
_OWN: Final = {"size", "align", "_mem", "_views", "_block", "_freed", "_of", "__dict__"}


class Struct(View):
    """
    Fields one after the other, as C lays them out.

    Derive a class with `_fields_`, a dict of names to types.  `s.field` is the field's view:
    `s.count.value = 5`.  A class derived from that one has its own fields behind those.
    """

    _fields_: ClassVar[Mapping[str, type[View]]] = {}
    _layout: ClassVar[Mapping[str, _Field]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if any(not set(getattr(base, "_layout", ())) <= set(cls._layout) for base in cls.__bases__):
            raise TypeError(f"{cls.__name__} can't have the fields of two structs")
        if "_fields_" not in vars(cls):
            return
        layout = dict(cls._layout)
        end = getattr(cls, "size", 0)  # of the class that it is derived from
        align = getattr(cls, "align", 1)
        for name, of in dict(vars(cls)["_fields_"]).items():
            check_type(of)
            if not isinstance(name, str) or not name.isidentifier():
                raise TypeError(f"no field can be called {name!r}")
            if name in _OWN or hasattr(cls, name) or hasattr(_Boxed, name):
                raise TypeError(f"{cls.__name__} has another {name!r}: no field can be called so")
            offset = _round_up(end, of.align)
            layout[name] = _Field(name, of, offset)
            end = offset + of.size
            align = max(align, of.align)
        for name in layout:
            setattr(cls, name, layout[name])
        cls._layout = layout
        cls.size = _round_up(end, align)
        cls.align = align
        cls._needs_heap = any(field.of._needs_heap for field in layout.values())
        cls._owns = any(field.of._owns for field in layout.values())

    def _setup(self, mem: memoryview) -> None:
        super()._setup(mem)
        self._views: dict[str, View] = {}

    def _release(self) -> None:
        for name, field in self._layout.items():
            if field.of._owns:
                getattr(self, name)._release()

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._layout)
        return f"{type(self).__name__}({fields})"

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def _round_up(offset: int, align: int) -> int:
    return (offset + align - 1) // align * align


# ---- arrays --------------------------------------------------------------------------------------


class ArrayView(View, Generic[T]):
    """
    What every `Array[T, n]` is: n views of T, one behind the other.

    `a[i]` is the element's view, `a[i:j]` a list of them; nothing can be put in their place.
    """

    _type: type[T]
    _length: ClassVar[int]
    _stride: ClassVar[int]

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._at(i) for i in range(*index.indices(self._length))]
        i = operator.index(index)
        if not -self._length <= i < self._length:
            raise IndexError(f"{i} is no index of {self._length} elements")
        return self._at(i % self._length)

    def __iter__(self) -> Iterator[T]:
        return map(self._at, range(self._length))

    def __reversed__(self) -> Iterator[T]:
        return map(self._at, reversed(range(self._length)))

    def _at(self, i: int) -> T:
        start = i * self._stride
        return self._type._part(self._mem[start : start + self._type.size], self._heap)

    def _release(self) -> None:
        if self._owns:
            for element in self:
                element._release()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


def _make_array(qualname: str, cls: type[View], length: int) -> type[ArrayView[Any]]:
    check_type(cls)
    if length < 0:
        raise ValueError(f"an array of {length} elements")
    stride = _round_up(cls.size, cls.align)
    body = {
        "__module__": __name__,
        "__qualname__": qualname,
        "__doc__": f"An array of {length} {cls.__name__}.",
        "size": stride * length,
        "align": cls.align,
        "_type": cls,
        "_length": length,
        "_stride": stride,
        "_needs_heap": cls._needs_heap,
        "_owns": cls._owns,
    }
    made: Any = GenericMeta(f"Array[{cls.__name__}, {length}]", (ArrayView,), body)
    return made  # type: ignore[no-any-return]


class _ArrayType(Protocol):
    def __getitem__(self, parameters: tuple[type[T], int], /) -> type[ArrayView[T]]: ...


# ---- boxes ---------------------------------------------------------------------------------------


class _Boxed:
    """What `Box[T]` has before T: memory of a heap's."""

    if not TYPE_CHECKING:
        __slots__ = ()  # so that T may be a type of C's
    _of: ClassVar[type[View]]
    _heap: Heap
    _block: Block

    def __init__(self, heap: Heap, /, *args: Any, **kwargs: Any) -> None:
        block = heap.malloc(max(1, self._of.size), self._of.align)
        try:
            self._block = block
            self._heap = heap
            self._of.__init__(self, block.deref(), *args, **kwargs)  # type: ignore[arg-type]
        except BaseException:
            block.free()
            raise

    def free(self) -> None:
        """Gives the memory back; ValueError if it was before.  Nobody may use it any more."""
        self._block.deref()  # raises if it is gone
        if self._of._owns:
            self._release()  # type: ignore[attr-defined]
        block = self._block
        block.free()
        self._leave()  # type: ignore[attr-defined]
        vars(self).clear()  # all that leads to the memory; see View.__getattr__
        vars(self).update(_block=block, _freed=True)

    def __reduce__(self) -> Any:
        # Not by the class: where T is sent by value (cloudpickle, `__main__`), the box is, too.
        self._block.deref()  # raises if it is gone
        cls: type[Any] = type(self)
        own = cls if cls is not Box[self._of] else None
        return _unboxed, (self._of, self._block, own)


def _unboxed(of: type[View], block: Block, own: type[View] | None) -> View:
    cls: Any = own or Box[of]
    if block.size < of.size:
        raise ValueError(f"{of.__name__} needs {of.size} bytes, its block has {block.size}")
    self = cls.__new__(cls)
    self._block = block
    self._heap = block.heap
    self._setup(block.deref()[: of.size])
    return self  # type: ignore[no-any-return]


def _make_box(qualname: str, cls: type[View]) -> type[View]:
    check_type(cls)
    if issubclass(cls, _Boxed):
        raise TypeError(f"{cls.__name__} is a box already")
    body = {
        "__module__": __name__,
        "__qualname__": qualname,
        "__doc__": f"{cls.__name__} in a heap.",
        "_of": cls,
    }
    metaclass: Any = type(cls)  # which may be the user's
    made: type[View] = metaclass(f"Box[{cls.__name__}]", (_Boxed, cls), body)
    return made


class _BoxType(Protocol):
    def __getitem__(self, cls: type[T], /) -> type[T]: ...


# For type checkers `Array[Int64, 5]` is an ArrayView[Int64], and `Box[T](heap)` a T.
Array: _ArrayType = ProductType("Array", _make_array, (ObjectType, IntType))
Box: _BoxType = ObjectType("Box", _make_box)

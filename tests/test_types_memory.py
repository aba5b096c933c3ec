"""The types over memory of one's own: what they are, how they are laid out, what they refuse."""

from __future__ import annotations

import array
import ctypes
import mmap
import pickle
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mpmetrics.atomic import AtomicDouble, AtomicInt64, AtomicUInt64
from mpmetrics.lock import Lock
from mpmetrics.types import (
    Array,
    Box,
    Dict,
    Double,
    Int64,
    List,
    Object,
    Size_t,
    Struct,
    UInt64,
)
from mpmetrics.view import View

NUMBERS = [Int64, UInt64, Double, Size_t]
INTEGERS = [Int64, UInt64, Size_t]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Point(Struct):
    """Two numbers, as a user writes it."""

    _fields_ = {"x": Int64, "y": Double}


class Line(Struct):
    _fields_ = {"begin": Point, "end": Point, "marks": Array[Int64, 3]}


class Byte(View):
    """A type of one's own, of another size than those of the package."""

    size = 1
    align = 1

    @property
    def value(self) -> int:
        return self._mem[0]

    @value.setter
    def value(self, value: int) -> None:
        self._mem[0] = value


class Half(View):
    size = 4
    align = 4


class Odd(View):
    size = 5
    align = 2


# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", NUMBERS)
def test_number_is_zeroed(cls):
    """`T(mem)` sets its own bytes to zero, and none of those behind them."""
    mem = bytearray(b"\xff" * 12)

    number = cls(mem)

    assert 0 == number.value
    assert bytes(8) + b"\xff" * 4 == mem


@pytest.mark.parametrize("cls", [*NUMBERS, AtomicInt64, AtomicUInt64, AtomicDouble])
def test_size_and_align(cls):
    """A number has the size and the alignment of C's, as class attributes."""
    assert (8, 8) == (cls.size, cls.align)


@pytest.mark.parametrize(
    ("cls", "least", "most"),
    [(Int64, -(2**63), 2**63 - 1), (UInt64, 0, 2**64 - 1), (Size_t, 0, 2**64 - 1)],
)
def test_integer_limits(cls, least, most):
    """The least and the most fit; one more is an OverflowError and changes nothing."""
    number = cls(bytearray(8))
    for value, beyond in ((least, least - 1), (most, most + 1)):
        number.value = value
        with pytest.raises(OverflowError):
            number.value = beyond
        assert value == number.value


@pytest.mark.parametrize("cls", INTEGERS)
@pytest.mark.parametrize("wrong", [1.5, "1", None, b"1", [1]])
def test_integer_refuses(cls, wrong):
    """What is no integer is a TypeError and changes nothing."""
    number = cls(bytearray(8))
    number.value = 7

    with pytest.raises(TypeError):
        number.value = wrong
    assert 7 == number.value


@given(st.floats())
def test_double_keeps_every_float(value):
    """A Double gives back the float that it got, bit by bit."""
    number = Double(bytearray(8))
    number.value = value

    assert value.hex() == number.value.hex()


def test_double_refuses():
    """What is no number is a TypeError, an integer beyond all floats an OverflowError."""
    number = Double(bytearray(8))
    number.value = 2

    for wrong in ("1", None, b"1"):
        with pytest.raises(TypeError):
            number.value = wrong
    with pytest.raises(OverflowError):
        number.value = 10**400
    assert 2.0 == number.value


@given(st.integers(-(2**63), 2**63 - 1))
def test_integer_has_c_bytes(value):
    """The bytes are the machine's own, so that C may read them."""
    mem = bytearray(8)
    Int64(mem).value = value

    assert value == ctypes.c_int64.from_buffer(mem).value


def test_two_views_of_one_memory():
    """What is written through one view is read through another."""
    mem = bytearray(8)
    one, other = Int64(mem), Int64._attach(mem)
    one.value = 5

    assert 5 == other.value


# ---- buffers -------------------------------------------------------------------------------------

ALL = [*NUMBERS, Point, Line, Array[Int64, 4], Array[Point, 2], AtomicInt64, AtomicDouble]


def ids(cls: type) -> str:
    return cls.__name__


@pytest.mark.parametrize("cls", ALL, ids=ids)
@pytest.mark.parametrize("missing", [1, 5, None])
def test_buffer_too_small(cls, missing):
    """A buffer too small is a ValueError, and none of it is changed."""
    mem = bytearray(b"\xff" * (0 if missing is None else cls.size - missing))
    before = bytes(mem)

    with pytest.raises(ValueError):
        cls(mem)
    assert before == mem


@pytest.mark.parametrize("cls", ALL, ids=ids)
@pytest.mark.parametrize("wrong", [b"\xff" * 256, memoryview(bytes(256)), None, 256, "x" * 256])
def test_buffer_that_cannot_be_written(cls, wrong):
    """What is no buffer, or one that is read-only, is a TypeError."""
    with pytest.raises(TypeError):
        cls(wrong)


def test_buffer_not_contiguous():
    """Memory with holes is a TypeError, and isn't changed."""
    mem = bytearray(b"\xff" * 64)

    with pytest.raises(TypeError):
        Int64(memoryview(mem)[::2])
    assert b"\xff" * 64 == mem


@pytest.mark.parametrize(
    "buffer",
    [
        lambda: bytearray(b"\xff" * 64),
        lambda: memoryview(bytearray(b"\xff" * 64))[8:],
        lambda: array.array("d", [1.0] * 8),
        lambda: (ctypes.c_int64 * 8)(*range(8)),
        lambda: (ctypes.c_char * 64)(*b"\xff" * 64),
        lambda: memoryview(bytearray(b"\xff" * 64)).cast("q", (2, 4)),
        lambda: mmap.mmap(-1, 64),
    ],
)
def test_every_writable_buffer(buffer):
    """Whatever has memory that can be written will do."""
    mem = buffer()

    view = Array[Int64, 4](mem)
    view[3].value = 5

    assert [0, 0, 0, 5] == [each.value for each in view]
    assert 5 == Int64._attach(memoryview(mem).cast("B")[24:]).value


def test_atomic_misaligned():
    """An atomic's memory must be aligned: otherwise a ValueError."""
    mem = memoryview((ctypes.c_int64 * 2)()).cast("B")

    with pytest.raises(ValueError):
        AtomicInt64(mem[1:9])


@pytest.mark.parametrize("cls", [Lock, Object, Dict, List])
def test_what_needs_a_heap(cls):
    """A Lock, an Object, a Dict and a List are refused outside a heap, which changes nothing."""

    class Holder(Struct):
        _fields_ = {"number": Int64, "inner": cls}

    for needy in (cls, Holder, Array[cls, 2]):
        mem = bytearray(b"\xff" * 512)
        with pytest.raises(TypeError, match="Box"):
            needy(mem)
        assert b"\xff" * 512 == mem


@pytest.mark.parametrize("wrong", [int, 5, None, Struct, View, "Int64", bytearray])
def test_parameters_that_are_no_types(wrong):
    """An array or a box of what is no type of shared memory is a TypeError, and so is a field."""
    with pytest.raises(TypeError):
        Array[wrong, 3]
    with pytest.raises(TypeError):
        Box[wrong]
    with pytest.raises(TypeError):
        type("S", (Struct,), {"_fields_": {"field": wrong}})


# ---- structs -------------------------------------------------------------------------------------


def test_fields_are_views():
    """`s.field` is the field's view, and a field of that is, too."""
    mem = bytearray(b"\xff" * Line.size)
    line = Line(mem)

    line.end.y.value = 2.5
    line.marks[1].value = 7

    assert (0, 0.0, 0, 2.5) == (
        line.begin.x.value,
        line.begin.y.value,
        line.end.x.value,
        line.end.y.value,
    )
    assert 2.5 == ctypes.c_double.from_buffer(mem, 24).value
    assert 7 == ctypes.c_int64.from_buffer(mem, 40).value
    assert line.end is line.end


def test_field_cannot_be_replaced():
    """Assigning to a field is an AttributeError that says what to write to."""
    point = Point(bytearray(16))

    with pytest.raises(AttributeError, match=r"x\.value"):
        point.x = 5
    assert 0 == point.x.value


def test_struct_without_fields():
    """A struct may have no field; it has no bytes, then."""
    empty = type("Empty", (Struct,), {"_fields_": {}})

    assert (0, 1) == (empty.size, empty.align)
    assert b"" == bytes(empty(bytearray())._mem)


def test_derived_struct():
    """The fields of a derived struct stand behind those of its base, as in C and ctypes."""

    class Base(Struct):
        _fields_ = {"a": Int64, "b": Byte}

    class Derived(Base):
        _fields_ = {"c": Byte}

    class Same(Derived):
        def total(self) -> int:
            return self.a.value + self.c.value

    class CBase(ctypes.Structure):
        _fields_ = [("a", ctypes.c_int64), ("b", ctypes.c_uint8)]

    class CDerived(CBase):
        _fields_ = [("c", ctypes.c_uint8)]

    mem = bytearray(Same.size)
    same = Same(mem)
    same.a.value, same.c.value = 5, 6

    assert ctypes.sizeof(CDerived) == Derived.size == Same.size
    assert 11 == same.total()
    assert 6 == CDerived.from_buffer(mem).c


def test_struct_of_two_structs():
    """The fields of two structs can't both begin at the beginning: a TypeError."""
    other = type("Other", (Struct,), {"_fields_": {"z": Int64}})

    with pytest.raises(TypeError, match="two structs"):
        type("Both", (Point, other), {})
    with pytest.raises(TypeError, match="two structs"):
        type("Both", (Point, other), {"_fields_": {}})


@pytest.mark.parametrize("name", ["size", "align", "free", "_mem", "_block", "", "a b", "1", 5])
def test_field_names_that_are_taken(name):
    """A field that would hide what every view or box has is a TypeError."""
    with pytest.raises(TypeError):
        type("S", (Struct,), {"_fields_": {name: Int64}})


def test_field_or_method():
    """A field and a method of one name are a TypeError; so are two fields."""
    with pytest.raises(TypeError):
        type("S", (Struct,), {"_fields_": {"f": Int64}, "f": lambda self: 5})
    with pytest.raises(TypeError):
        type("S", (Point,), {"_fields_": {"x": Int64}})


def test_repr_shows_what_is_there():
    """What is printed are the types as one writes them, and the values."""
    array_ = Array[Point, 2](bytearray(32))
    array_[1].y.value = 0.5

    assert (
        "Array[Point, 2]([Point(x=Int64(0), y=Double(0.0)), Point(x=Int64(0), y=Double(0.5))])"
        == repr(array_)
    )


# ---- arrays --------------------------------------------------------------------------------------


def test_array_is_a_sequence_of_views():
    """An array has a length, indices from both ends, slices, iteration, and no item assignment."""
    numbers = Array[Int64, 5](bytearray(40))
    for i, number in enumerate(numbers):
        number.value = i * i

    assert 5 == len(numbers)
    assert [0, 1, 4, 9, 16] == [each.value for each in numbers]
    assert [16, 9, 4, 1, 0] == [each.value for each in reversed(numbers)]
    assert (16, 1) == (numbers[-1].value, numbers[1].value)
    assert [1, 9] == [each.value for each in numbers[1:4:2]]
    with pytest.raises(TypeError):
        numbers[0] = 5
    with pytest.raises(TypeError):
        numbers["0"]
    for i in (5, -6, 10**30):
        with pytest.raises(IndexError):
            numbers[i]


def test_array_length():
    """A negative length is a ValueError; none is an array of no bytes."""
    with pytest.raises(ValueError):
        Array[Int64, -1]
    assert (0, 8, 0) == (
        Array[Int64, 0].size,
        Array[Int64, 0].align,
        len(Array[Int64, 0](bytearray())),
    )
    assert [] == list(Array[Int64, 0](bytearray()))
    with pytest.raises(TypeError):
        Array[Int64, 1.5]


def test_elements_keep_their_alignment():
    """Elements whose size is no multiple of their alignment have padding between them."""
    assert (6 * 3, 2) == (Array[Odd, 3].size, Array[Odd, 3].align)
    mem = bytearray(18)
    Array[Odd, 3](mem)[1]._mem[0] = 5
    assert 6 == mem.index(5)


# ---- C's layout ----------------------------------------------------------------------------------

LEAVES: list[tuple[Any, Any]] = [
    (Int64, ctypes.c_int64),
    (UInt64, ctypes.c_uint64),
    (Double, ctypes.c_double),
    (Size_t, ctypes.c_size_t),
    (Byte, ctypes.c_uint8),
    (Half, ctypes.c_uint32),
    (AtomicInt64, ctypes.c_int64),
]


def struct_of(fields: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    ours = type("S", (Struct,), {"_fields_": {f"f{i}": one for i, (one, _) in enumerate(fields)}})
    theirs = type(
        "C", (ctypes.Structure,), {"_fields_": [(f"f{i}", c) for i, (_, c) in enumerate(fields)]}
    )
    return ours, theirs


types_of_both = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.builds(struct_of, st.lists(inner, max_size=5))
        | st.builds(lambda each, n: (Array[each[0], n], each[1] * n), inner, st.integers(0, 4))
    ),
    max_leaves=12,
)


def check_layout(ours: Any, theirs: Any) -> None:
    assert ctypes.sizeof(theirs) == ours.size
    assert ctypes.alignment(theirs) == ours.align
    if issubclass(ours, Struct):
        for name, field in ours._layout.items():
            assert getattr(theirs, name).offset == field.offset
            check_layout(field.of, dict(theirs._fields_)[name])
    elif issubclass(theirs, ctypes.Array):
        assert theirs._length_ == len(ours(bytearray(ours.size)))
        check_layout(ours._type, theirs._type_)


@given(types_of_both)
def test_layout_is_that_of_c(both):
    """Structs and arrays, however nested, have the sizes, alignments and offsets of ctypes."""
    check_layout(*both)


def leaves_of(view: Any) -> list[Any]:
    if isinstance(view, Struct):
        return [leaf for name in view._layout for leaf in leaves_of(getattr(view, name))]
    if hasattr(view, "__len__"):
        return [leaf for each in view for leaf in leaves_of(each)]
    return [view]


@given(types_of_both, st.randoms(use_true_random=False))
def test_no_two_fields_share_a_byte(both, random):
    """What is written to one number of a struct changes that one alone, and pickles with it."""
    cls, _ = both
    view = cls(bytearray(cls.size))
    leaves = [leaf for leaf in leaves_of(view) if hasattr(leaf, "value")]
    values = [random.randrange(256) for _ in leaves]
    for leaf, value in zip(leaves, values, strict=True):
        leaf.value = value

    assert values == [leaf.value for leaf in leaves]


# ---- pickle --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_over_a_bytearray_pickles_by_value(protocol):
    """A view over a bytearray is copied by pickle: the copy has the values, and its own memory."""
    line = Line(bytearray(Line.size))
    line.end.x.value = 5

    copy = pickle.loads(pickle.dumps(line, protocol))
    part = pickle.loads(pickle.dumps(line.end, protocol))
    line.end.x.value = 6

    assert type(line) is type(copy)
    assert (5, 5, 6) == (copy.end.x.value, part.x.value, line.end.x.value)
    copy.end.x.value = 7
    assert 7 == pickle.loads(pickle.dumps(copy, protocol)).end.x.value


@pytest.mark.parametrize("cls", ALL, ids=ids)
def test_every_type_pickles_by_value(cls):
    """So does each type; unpickling changes no byte of what was there."""
    view = cls(bytearray(range(256)))
    view._mem[:] = bytes(range(1, cls.size + 1))

    assert bytes(range(1, cls.size + 1)) == bytes(pickle.loads(pickle.dumps(view))._mem)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_over_other_memory_does_not_pickle(protocol):
    """A view over memory of somebody else's is a TypeError that names Box."""
    for view in (
        Int64(mmap.mmap(-1, 4096)),
        Point(array.array("d", [0.0] * 4)).y,
        Array[Int64, 2](memoryview((ctypes.c_int64 * 4)()))[1],
        AtomicInt64(mmap.mmap(-1, 4096)),
    ):
        with pytest.raises(TypeError, match=r"Box\["):
            pickle.dumps(view, protocol)


def test_views_of_a_program_pickle_by_cloudpickle():
    """A struct of the program itself is sent by value by cloudpickle, its layout with it."""
    cloudpickle = pytest.importorskip("cloudpickle")
    program = """if True:
        import cloudpickle, sys
        from mpmetrics.types import *
        class Slot(Struct):
            _fields_ = {"a": Int64, "b": Double}
            def total(self):
                return self.a.value + self.b.value
        class Board(Struct):
            _fields_ = {"slots": Array[Slot, 3], "n": Int64}
        board = Board(bytearray(Board.size))
        board.slots[1].a.value = 4
        sys.stdout.buffer.write(cloudpickle.dumps((board, Array[Board, 2])))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert 0 == done.returncode, done.stderr.decode()

    board, boards = cloudpickle.loads(done.stdout)

    assert 4.0 == board.slots[1].total()
    assert 2 * board.size == boards.size
    assert Array[type(board), 2] is boards


# ---- what type checkers see ----------------------------------------------------------------------


@pytest.mark.slow
def test_type_checkers_understand(tmp_path):
    """mypy takes the toolkit as one writes it, knows the elements' types, and finds a mistake."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""\
        from mpmetrics.heap import Heap
        from mpmetrics.types import Array, Box, Dict, Double, Int64, Struct

        class Slot(Struct):
            _fields_ = {"count": Int64, "seconds": Double}
            count: Int64
            seconds: Double

        heap = Heap()
        number = Box[Int64](heap)
        number.value += 1
        slots = Box[Array[Slot, 4]](heap)
        total: float = sum(slot.seconds.value for slot in slots) + len(slots)
        slots[0].count.value = 5
        table = Box[Dict](heap)
        table["a"] = 1
        slots.free()
        number.value = "wrong"
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert 1 == len(errors), done.stdout
    assert "program.py:18:" in errors[0]

"""Box[T]: a T in a heap, which every process that has the box sees."""

from __future__ import annotations

import ctypes
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from tests.programs import environment

from mpmetrics.atomic import AtomicDouble, AtomicInt64, AtomicUInt64
from mpmetrics.generics import IntType
from mpmetrics.heap import GoneError, Heap
from mpmetrics.lock import Lock
from mpmetrics.types import Array, Box, Dict, Double, Int64, List, Object, Size_t, Struct, UInt64
from mpmetrics.view import View

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Point(Struct):
    _fields_ = {"x": Int64, "y": Double}

    def move(self, by: int) -> None:
        self.x.value += by


class Named(Struct):
    """A struct with arguments of its own."""

    _fields_ = {"name": Array[Int64, 4], "weight": Double}

    def __init__(self, mem: Any, name: str, *, weight: float = 1.0) -> None:
        super().__init__(mem)
        for letter, cell in zip(name, self.name, strict=False):
            cell.value = ord(letter)
        self.weight.value = weight


class Everything(Struct):
    _fields_ = {
        "lock": Lock,
        "count": AtomicInt64,
        "table": Dict,
        "points": Array[Point, 3],
        "logs": Array[List, 2],
        "last": Object,
    }


def make_ring(qualname: str, n: int) -> type[Struct]:
    """The last n errors, as the documentation has it."""

    class Ring(Struct):
        _fields_ = {"lock": Lock, "written": Int64, "slots": Array[Object, n]}

        def push(self, what: object) -> None:
            with self.lock:
                self.slots[self.written.value % n].value = what
                self.written.value += 1

        def last(self) -> list[Any]:
            with self.lock:
                end = self.written.value
                return [self.slots[i % n].value for i in range(max(0, end - n), end)]

    return Ring


Ring = IntType("Ring", make_ring)


class Own(Box[Point]):
    """A class of a user's own, derived from a box."""

    def double(self) -> int:
        return 2 * self.x.value


@pytest.fixture
def heap() -> Heap:
    """A heap of the test's own."""
    return Heap()


NUMBERS = [Int64, UInt64, Double, Size_t, AtomicInt64, AtomicUInt64, AtomicDouble]
EVERY = [
    *NUMBERS, Lock, Object, Dict, List, Point, Everything, Array[Int64, 4],
    Array[Array[Point, 2], 3], Array[Dict, 2], Ring[3], Array[Int64, 0],
]  # fmt: skip


def ids(cls: type) -> str:
    return cls.__name__


@pytest.mark.parametrize("cls", EVERY, ids=ids)
def test_box_is_a_subclass(cls, heap):
    """`Box[T]` is a class derived from T, of the same size and alignment, and one for each T."""
    box = Box[cls](heap)

    assert issubclass(Box[cls], cls)
    assert isinstance(box, cls)
    assert Box[cls] is type(box) is Box[cls]
    assert (cls.size, cls.align) == (box.size, box.align)
    assert Box[cls] is pickle.loads(pickle.dumps(Box[cls]))
    assert f"Box.<.{cls.__module__}.{cls.__qualname__}.>" == Box[cls].__qualname__


@pytest.mark.parametrize("cls", EVERY, ids=ids)
def test_box_gives_its_memory_back(cls, heap):
    """A box takes one block; `free` gives back all that it had, once."""
    box = Box[cls](heap)
    assert 1 == heap.statistics().blocks
    again = pickle.loads(pickle.dumps(box))

    again.free()

    assert 0 == heap.statistics().blocks
    for each in (box, again):
        with pytest.raises(GoneError):
            each.free()
        with pytest.raises(GoneError):
            pickle.dumps(each)


def test_freed_box_says_so(heap):
    """A box that was freed is a ValueError in whatever one does with it."""
    boxes = {
        "value": [Box[cls](heap) for cls in (Int64, Double, Object)],
        "x": [Box[Point](heap)],
        "copy": [],
    }
    for name, each in boxes.items():
        for box in each:
            box.free()
            with pytest.raises(ValueError, match="freed"):
                getattr(box, name)
    array, table = Box[Array[Int64, 3]](heap), Box[Dict](heap)
    for box in (array, table):
        box.free()
        with pytest.raises(ValueError, match="freed"):
            box[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("cls", EVERY, ids=ids)
def test_box_pickles_as_its_block(cls, protocol, heap):
    """At every protocol the pickle of a box leads to the same memory, of which nothing changes."""
    box = Box[cls](heap)
    if cls in (*NUMBERS, Array[Int64, 4]):
        box._mem[:] = bytes(range(cls.size))
    before = bytes(box._mem)

    other = pickle.loads(pickle.dumps(box, protocol))

    assert type(box) is type(other)
    assert before == bytes(box._mem) == bytes(other._mem)
    assert 1 == heap.statistics().blocks
    if cls.size:
        box._mem[0] ^= 1
        assert bytes(box._mem) == bytes(other._mem)
        box._mem[0] ^= 1


def test_box_behaves_as_its_type(heap):
    """Methods, fields, elements, `len` and `with` are those of T."""
    point = Box[Point](heap)
    point.move(5)
    grid = Box[Array[Array[Int64, 5], 3]](heap)
    grid[2][4].value = 7
    count = Box[AtomicInt64](heap)
    lock = Box[Lock](heap)

    assert 5 == point.x.value
    assert (3, 5, 7) == (len(grid), len(grid[0]), grid[-1][-1].value)
    assert [0, 3] == [count.add(3), count.add(3)]
    with lock:
        assert pickle.loads(pickle.dumps(lock)).locked()


def test_arguments_go_to_the_type(heap):
    """What follows the heap are T's own arguments."""
    named = Box[Named](heap, "abc", weight=2.5)

    assert [97, 98, 99, 0] == [cell.value for cell in named.name]
    assert 2.5 == pickle.loads(pickle.dumps(named)).weight.value
    assert {"a": 1, "b": 2} == Box[Dict](heap, {"a": 1}, b=2)
    assert [1, 2] == Box[List](heap, (1, 2))
    assert "x" == Box[Object](heap, "x").value


@pytest.mark.parametrize("args", [(), ("a", "b"), (5,)])
def test_box_that_fails_keeps_no_memory(args, heap):
    """If T's own `__init__` raises, the block is given back."""
    with pytest.raises(TypeError):
        Box[Named](heap, *args)
    with pytest.raises((TypeError, AttributeError)):
        Box[Dict](heap, {"lambda": lambda: 5})

    assert 0 == heap.statistics().blocks


def test_containers_inside(heap):
    """A Lock, a Dict, a List and an Object may be fields and elements, and go with the box."""
    all_ = Box[Everything](heap)
    other = pickle.loads(pickle.dumps(all_))
    with all_.lock:
        other.table["a"] = [1, 2]
        all_.logs[1].append("x" * 1000)
        other.points[2].move(3)
        other.last.value = {"deep": all_}

    assert [1, 2] == all_.table["a"]
    assert ["x" * 1000] == other.logs[-1]
    assert 3 == all_.last.value["deep"].points[2].x.value
    all_.free()
    assert 0 == heap.statistics().blocks


def test_box_of_a_box(heap):
    """A box of a box is a TypeError."""
    with pytest.raises(TypeError, match="box already"):
        Box[Box[Int64]]


@pytest.mark.parametrize("wrong", [None, bytearray(64), 5])
def test_box_needs_a_heap(wrong):
    """What is no heap is refused."""
    with pytest.raises((TypeError, AttributeError)):
        Box[Int64](wrong)


def test_field_of_a_box_does_not_pickle(heap):
    """The field of a box doesn't pickle by itself: a TypeError that names Box."""
    with pytest.raises(TypeError, match="Box"):
        pickle.dumps(Box[Point](heap).x)


def test_alignment_is_asked_for(heap):
    """A box's memory is aligned as T says."""

    class Wide(View):
        size = 256
        align = 256

    for _ in range(10):
        address = ctypes.addressof(ctypes.c_char.from_buffer(Box[Wide](heap)._mem))
        assert 0 == address % 256


def test_derived_from_a_box(heap):
    """A class derived from a box comes back as that class."""
    own = Own(heap)
    own.x.value = 4

    other = pickle.loads(pickle.dumps(own))

    assert Own is type(other)
    assert 8 == other.double()


def test_many_pages(heap):
    """An array of many pages is one piece of memory, and zero."""
    numbers = Box[Array[Int64, 300_000]](heap)
    numbers[299_999].value = 5

    assert 5 == sum(numbers._mem.cast("q"))
    numbers.free()


# ---- processes -----------------------------------------------------------------------------------


def change_all(
    point: Point, ring: Any, table: Dict, count: AtomicInt64, own: Own, grid: Any
) -> tuple[Any, ...]:
    point.move(1)
    ring.push(f"error {point.x.value}")
    table["child"] = own
    count.add(2)
    grid[1][2].value += 1
    return point, own.double()


def make_all() -> tuple[Any, ...]:
    heap = Heap()
    boxes = (
        Box[Point],
        Box[Ring[3]],
        Box[Dict],
        Box[AtomicInt64],
        Own,
        Box[Array[Array[Int64, 3], 2]],
    )
    return tuple(box(heap) for box in boxes)


def check_all(boxes: tuple[Any, ...], answers: list[Any]) -> None:
    point, ring, table, count, own, grid = boxes
    own.x.value = 5
    assert len(answers) == point.x.value == grid[1][2].value
    assert 2 * len(answers) == count.get()
    assert [f"error {i}" for i in (2, 3, 4)] == ring.last()
    assert 10 == table["child"].double()
    for other, doubled in answers:
        assert Box[Point] is type(other)
        other.y.value += 1
        assert 0 == doubled
    assert len(answers) == point.y.value


def run_in_process(queue: Any, *boxes: Any) -> None:
    queue.put(change_all(*boxes))


@pytest.mark.slow
def test_arguments_of_processes(ctx):
    """Boxes given to processes, and sent back through a queue, are the same memory everywhere."""
    boxes = make_all()
    queue = ctx.Queue()
    answers = []
    for _ in range(4):
        process = ctx.Process(target=run_in_process, args=(queue, *boxes))
        process.start()
        answers.append(queue.get(timeout=60))
        process.join()

    check_all(boxes, answers)


@pytest.mark.slow
def test_tasks_of_a_pool(ctx):
    """So are those that go to a Pool's tasks and come back as their results."""
    boxes = make_all()
    with ctx.Pool(1) as pool:
        check_all(boxes, [pool.apply(change_all, boxes) for _ in range(4)])
        pool.close()
        pool.join()


@pytest.mark.slow
def test_tasks_of_an_executor(ctx):
    """And those of a ProcessPoolExecutor."""
    boxes = make_all()
    with ProcessPoolExecutor(1, mp_context=ctx) as executor:
        check_all(boxes, [executor.submit(change_all, *boxes).result(60) for _ in range(4)])


_given: tuple[Any, ...] = ()


def give(*boxes: Any) -> None:
    global _given
    _given = boxes


def change_given() -> tuple[Any, ...]:
    return change_all(*_given)


@pytest.mark.slow
def test_initialisers(ctx):
    """And those that an initialiser puts into a global."""
    boxes = make_all()
    with ctx.Pool(1, give, boxes) as pool:
        check_all(boxes, [pool.apply(change_given) for _ in range(4)])
        pool.close()
        pool.join()


def add_many(count: AtomicInt64, barrier: Any) -> None:
    barrier.wait(60)
    for _ in range(5_000):
        count.add(1)


@pytest.mark.slow
def test_boxed_atomic_loses_nothing(ctx):
    """Four processes adding to one boxed atomic lose no addition."""
    count = Box[AtomicInt64](Heap())
    barrier = ctx.Barrier(4)
    processes = [ctx.Process(target=add_many, args=(count, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert 20_000 == count.get()


PROGRAM = """\
import joblib

from mpmetrics.generics import IntType
from mpmetrics.heap import Heap
from mpmetrics.types import Array, Box, Double, Int64, List, Struct


class Slot(Struct):
    _fields_ = {"count": Int64, "seconds": Double}


class Board(Struct):
    _fields_ = {"slots": Array[Slot, 4], "names": List}

    def tick(self, i):
        self.slots[i].count.value += 1


def make_boards(name, n):
    return type(name, (Struct,), {"_fields_": {"all": Array[Board, n]}})


Boards = IntType("Boards", make_boards)


def work(i, board, boards):
    board.tick(i)
    boards.all[1].slots[i].seconds.value += i
    board.names.append(type(boards).__name__)
    return board


if __name__ == "__main__":
    heap = Heap()
    board, boards = Box[Board](heap), Box[Boards[2]](heap)
    back = joblib.Parallel(n_jobs=2)(joblib.delayed(work)(i, board, boards) for i in range(4))
    print([slot.count.value for slot in board.slots], {type(each) is Box[Board] for each in back})
    print([slot.seconds.value for slot in boards.all[1].slots], len(board.names))
"""


@pytest.mark.slow
def test_joblib(tmp_path):
    """A program's own structs and generics go through joblib, whose workers can't import them."""
    pytest.importorskip("joblib")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )

    assert "[1, 1, 1, 1] {True}\n[0.0, 1.0, 2.0, 3.0] 4\n" == done.stdout, done.stderr


MAIN = """\
import multiprocessing, sys

from mpmetrics.generics import IntType
from mpmetrics.heap import Heap
from mpmetrics.types import Array, Box, Int64, Struct


class Slot(Struct):
    _fields_ = {"count": Int64}


def make(name, n):
    return type(name, (Struct,), {"_fields_": {"all": Array[Slot, n]}})


Slots = IntType("Slots", make)


def work(box, boxes, generic):
    box.count.value += 1
    boxes.all[1].count.value += 2
    assert isinstance(boxes, generic[2])
    return box, boxes, generic


if __name__ == "__main__":
    heap = Heap()
    box, boxes = Box[Slot](heap), Box[Slots[2]](heap)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        back = [pool.apply(work, (box, boxes, Slots)) for _ in range(4)]
        pool.close()
        pool.join()
    print(box.count.value, boxes.all[1].count.value)
    print({(type(a) is Box[Slot], type(b) is type(boxes), c is Slots) for a, b, c in back})
"""


@pytest.mark.slow
def test_structs_of_the_program_itself(method, tmp_path):
    """Structs and generics of the program itself go to its children and come back as they were."""
    program = tmp_path / "program.py"
    program.write_text(MAIN)
    done = subprocess.run(
        [sys.executable, program, method],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )

    assert "4 8\n{(True, True, True)}\n" == done.stdout, done.stderr


def test_forked_child_has_the_boxes(heap):
    """A forked child has its parent's boxes, without a pickle."""
    ctx = multiprocessing.get_context("fork")
    point, table = Box[Point](heap), Box[Dict](heap)

    def work() -> None:
        point.move(3)
        table["a"] = point

    child = ctx.Process(target=work)
    child.start()
    child.join()

    assert 3 == point.x.value == table["a"].x.value

"""Object, Dict and List: Python's own, as far as one can tell, in memory that processes share."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable, MutableMapping, MutableSequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mpmetrics.heap import Heap
from mpmetrics.types import Box, Dict, List, Object


@pytest.fixture
def heap() -> Heap:
    """A heap of the test's own."""
    return Heap()


# ---- they are what Python's are ------------------------------------------------------------------

METHODS_NOT_OURS = {
    "__class__", "__class_getitem__", "__delattr__", "__dir__", "__doc__", "__format__",
    "__getattribute__", "__getstate__", "__hash__", "__init__", "__init_subclass__", "__ne__",
    "__new__", "__reduce__", "__reduce_ex__", "__repr__", "__setattr__", "__sizeof__", "__str__",
    "__subclasshook__", "__lt__", "__le__", "__gt__", "__ge__",
}  # fmt: skip


@pytest.mark.parametrize(("ours", "pythons"), [(Dict, dict), (List, list)])
def test_every_method_is_there(ours, pythons):
    """Each method that dict or list has, Dict or List has."""
    missing = set(dir(pythons)) - METHODS_NOT_OURS - set(dir(ours))

    assert set() == missing
    assert issubclass(ours, MutableMapping if pythons is dict else MutableSequence)


def outcome(function: Any, *args: Any) -> Any:
    """What it returns, or which exception it raises."""
    try:
        result = function(*args)
    except Exception as error:
        return type(error)
    return result if result is None else ours_as_pythons(result)


def ours_as_pythons(value: Any) -> Any:
    if isinstance(value, Dict | List):
        return value.copy()
    if isinstance(value, type({}.keys()) | type({}.values()) | type({}.items())):
        return list(value)
    if hasattr(value, "_mapping"):
        return list(value)
    return value


KEYS = st.integers(-3, 3) | st.text(max_size=2) | st.none()
VALUES = st.recursive(
    st.integers() | st.text(max_size=10) | st.floats(allow_nan=False) | st.none() | st.binary(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


class DictMachine(RuleBasedStateMachine):
    """Two views of one Dict do what a dict does."""

    @initialize()
    def begin(self) -> None:
        self.heap = Heap(1 << 20)
        box = Box[Dict](self.heap)
        self.views = box, pickle.loads(pickle.dumps(box))
        self.model: dict[Any, Any] = {}

    def same(self, name: str, *args: Any) -> None:
        view = self.views[len(args) % 2]
        assert outcome(getattr(self.model, name), *args) == outcome(getattr(view, name), *args)

    @rule(key=KEYS, value=VALUES)
    def set(self, key, value):
        self.same("__setitem__", key, value)

    @rule(
        name=st.sampled_from(["__getitem__", "__delitem__", "pop", "get", "setdefault"]), key=KEYS
    )
    def by_key(self, name, key):
        self.same(name, key)

    @rule(name=st.sampled_from(["pop", "get", "setdefault"]), key=KEYS, value=VALUES)
    def by_key_with_default(self, name, key, value):
        self.same(name, key, value)

    @rule(name=st.sampled_from(["popitem", "copy", "keys", "values", "items", "__len__"]))
    def plain(self, name):
        self.same(name)

    @rule()
    def clear(self):
        self.same("clear")

    @rule(other=st.dictionaries(KEYS, VALUES, max_size=4))
    def merge(self, other):
        self.same("update", other)
        self.same("__or__", other)
        self.same("__ror__", other)
        self.views[0].__ior__(other)

    @rule()
    def unhashable(self):
        for name in ("__getitem__", "__contains__", "__delitem__", "pop"):
            self.same(name, [])

    @invariant()
    def equal(self):
        for view in self.views:
            assert self.model == view
            assert view == self.model
            assert list(self.model) == list(view)
            assert list(reversed(self.model)) == list(reversed(view))
            assert list(reversed(self.model.items())) == list(reversed(view.items()))
            assert len(self.model) == len(view)
            assert f"Box[Dict]({self.model!r})" == repr(view)

    @invariant()
    def memory(self):
        assert (2 if self.model else 1) == self.heap.statistics().blocks


class ListMachine(RuleBasedStateMachine):
    """Two views of one List do what a list does."""

    @initialize(values=st.lists(VALUES, max_size=3))
    def begin(self, values) -> None:
        self.heap = Heap(1 << 20)
        box = Box[List](self.heap, values)
        self.views = box, pickle.loads(pickle.dumps(box))
        self.model: list[Any] = list(values)

    def same(self, name: str, *args: Any, **kwargs: Any) -> None:
        view = self.views[len(args) % 2]
        expected = outcome(lambda: getattr(self.model, name)(*args, **kwargs))
        assert expected == outcome(lambda: getattr(view, name)(*args, **kwargs))

    @rule(
        value=VALUES, name=st.sampled_from(["append", "remove", "count", "index", "__contains__"])
    )
    def by_value(self, name, value):
        self.same(name, value)

    @rule(name=st.sampled_from(["remove", "count", "index", "__contains__"]), data=st.data())
    def by_value_that_is_there(self, name, data):
        if self.model:
            self.same(name, data.draw(st.sampled_from(self.model)))

    @rule(values=st.lists(VALUES, max_size=3))
    def extend(self, values):
        self.same("extend", values)
        self.same("__add__", values)
        for name in ("__eq__", "__lt__", "__le__", "__gt__", "__ge__"):
            self.same(name, values)

    @rule(index=st.integers(-6, 6), name=st.sampled_from(["pop", "__getitem__", "__delitem__"]))
    def by_index(self, name, index):
        self.same(name, index)

    @rule(index=st.integers(-6, 6), value=VALUES)
    def insert(self, index, value):
        self.same("insert", index, value)
        self.same("__setitem__", index, value)
        self.same("index", value, index)

    @rule(where=st.slices(6), values=st.lists(VALUES, max_size=3))
    def by_slice(self, where, values):
        self.same("__getitem__", where)
        self.same("__setitem__", where, values)
        self.same("__delitem__", where)

    @rule(name=st.sampled_from(["reverse", "copy", "pop", "__len__", "clear"]))
    def plain(self, name):
        self.same(name)

    @rule(reverse=st.booleans())
    def sort(self, reverse):
        before = list(self.model)
        if outcome(lambda: self.model.sort(reverse=reverse)) is TypeError:
            self.model = before  # where Python leaves its own in any order, ours is as it was
            assert TypeError is outcome(lambda: self.views[0].sort(reverse=reverse))
        else:
            self.views[0].sort(reverse=reverse)

    @rule(reverse=st.booleans())
    def sort_by_key(self, reverse):
        self.same("sort", key=lambda value: len(repr(value)), reverse=reverse)

    @rule(times=st.integers(-1, 2))
    def repeat(self, times):
        self.same("__mul__", times)
        self.same("__rmul__", times)
        if len(self.model) < 20:
            self.model *= times
            self.views[1].__imul__(times)

    @invariant()
    def equal(self):
        for view in self.views:
            assert self.model == view
            assert view == self.model
            assert self.model == list(view)
            assert self.model[::-1] == list(reversed(view))
            assert [*self.model, 1] == view + [1]  # noqa: RUF005
            assert [1, *self.model] == [1] + view  # noqa: RUF005
            assert f"Box[List]({self.model!r})" == repr(view)

    @invariant()
    def memory(self):
        assert (2 if self.model else 1) == self.heap.statistics().blocks


TestDict = pytest.mark.slow(DictMachine.TestCase)
TestDict.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestList = pytest.mark.slow(ListMachine.TestCase)
TestList.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_object_holds_any_value(value):
    """An Object gives back an equal value, to every process that has it."""
    box = Box[Object](Heap(1 << 20))
    assert box.value is None
    box.value = value

    assert value == box.value == pickle.loads(pickle.dumps(box)).value
    assert f"Box[Object]({value!r})" == repr(box)


def test_arguments_that_are_refused(heap):
    """The wrong number of arguments is a TypeError, as with dict and list, and changes nothing."""
    table, values = Box[Dict](heap, a=1), Box[List](heap, [1])
    for call in (
        lambda: table.pop(),
        lambda: table.pop("a", 1, 2),
        lambda: table.update(1),
        lambda: table | [("b", 2)],
        lambda: values + (1,),  # noqa: RUF005
        lambda: values.sort(len),
        lambda: values * "a",
        lambda: values.__setitem__("a", 1),
        lambda: values < (1,),
    ):
        with pytest.raises(TypeError):
            call()
    assert ({"a": 1}, [1]) == (table, values)


def test_unhashable():
    """Neither has a hash, as dict and list have none."""
    for cls in (Dict, List):
        with pytest.raises(TypeError, match="unhashable"):
            hash(Box[cls](Heap()))


def test_fromkeys(heap):
    """`fromkeys` and `copy` give ordinary dicts and lists."""
    assert {"a": 1, "b": 1} == Dict.fromkeys("ab", 1)
    assert dict is type(Box[Dict](heap, a=1).copy())
    assert list is type(Box[List](heap, "ab").copy())


def test_values_are_copies(heap):
    """Changing a value that one has got changes nothing in the heap."""
    table, values, one = Box[Dict](heap, a=[]), Box[List](heap, [[]]), Box[Object](heap, [])
    for got in (table["a"], values[0], one.value, *table.values(), *values):
        got.append(5)

    assert [[], [], []] == [table["a"], values[0], one.value]


def test_what_does_not_pickle_changes_nothing(heap):
    """A value that can't be pickled is pickle's error, and the contents stay."""
    table, values, one = Box[Dict](heap, a=1), Box[List](heap, [1]), Box[Object](heap, 1)
    for change in (
        lambda: table.__setitem__("a", lambda: 5),
        lambda: table.__setitem__(lambda: 5, "a"),
        lambda: table.update(b=2, c=lambda: 5),
        lambda: values.append(lambda: 5),
        lambda: values.extend([1, lambda: 5]),
        lambda: setattr(one, "value", lambda: 5),
    ):
        with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
            change()

    assert ({"a": 1}, [1], 1) == (table, values, one.value)
    assert 6 == heap.statistics().blocks


def test_iteration_is_of_one_moment(heap):
    """Changes during an iteration are no error, and not part of it."""
    table, values = Box[Dict](heap, a=1, b=2), Box[List](heap, [1, 2])
    for key, value in table.items():
        table[key * 2] = value
    for value in values:
        values.append(value)

    assert {"a": 1, "b": 2, "aa": 1, "bb": 2} == table
    assert [1, 2, 1, 2] == values


class Clears:
    """A value that empties its Dict when it is unpickled, or compared: another process's change."""

    def __init__(self, table: Dict) -> None:
        self.table = table

    def __reduce__(self) -> Any:
        return _clear, (self.table,)

    def __eq__(self, other: object) -> bool:
        return bool(_clear(self.table))

    __hash__ = None  # type: ignore[assignment]


def _clear(table: Dict) -> int:
    table.clear()
    return 0


# Without `dict(d)` and `{}.update(d)`, which ask for the keys first and then for each value.
READ_AT_ONCE: dict[str, Callable[[Dict], Any]] = {
    "in values": lambda table: Clears(table) in table.values(),
    "update": lambda table: Box[Dict](table._heap).update(table),
    "|": lambda table: Box[Dict](table._heap) | table,
    "| of a dict": lambda table: {} | table,
    "|=": lambda table: Box[Dict](table._heap).__ior__(table),
    "copy": lambda table: table.copy(),
    "items": lambda table: list(table.items()),
    "repr": lambda table: repr(table),
}


@pytest.mark.parametrize("name", READ_AT_ONCE)
def test_reading_is_of_one_moment(name, heap):
    """What reads a whole Dict goes on with what it found, though another process empties it."""
    table = Box[Dict](heap)
    table.update(a=1, b=Clears(table), c=3)
    READ_AT_ONCE[name](table)

    assert {} == table.copy()


# ---- as dict does it ------------------------------------------------------------------------


def test_keys_can_be_reversed(heap):
    """`reversed(d.keys())` is dict's."""
    table = Box[Dict](heap, a=1, b=2)

    assert ["b", "a"] == list(reversed(table.keys()))
    assert {"a"} == table.keys() & {"a", "c"}


def test_any_name_is_a_key(heap):
    """No name of a parameter of ours is taken from dict's keyword arguments."""
    names = {"self": 1, "mem": 2, "heap": 3, "args": 4, "other": 5}
    table = Box[Dict](heap, **names)
    assert names == table

    table.clear()
    table.update(**names)
    assert names == table


def test_default_of_a_present_key(heap):
    """setdefault doesn't care whether a default pickles that it has no use for."""
    table = Box[Dict](heap, a=1)

    assert 1 == table.setdefault("a", lambda: None)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        table.setdefault("b", lambda: None)
    assert {"a": 1} == table


@pytest.mark.parametrize(
    ("of", "put", "expected"),
    [
        (Dict, lambda box: box.update(me=box, n=1), "Box[Dict]({'me': Box[Dict](...), 'n': 1})"),
        (List, lambda box: box.extend([box, 1]), "Box[List]([Box[List](...), 1])"),
        (Object, lambda box: setattr(box, "value", [box]), "Box[Object]([Box[Object](...)])"),
    ],
)
def test_repr_of_what_contains_itself(of, put, expected, heap):
    """A container in itself is shown as dots, and one that is there twice is shown twice."""
    box = Box[of](heap)
    put(box)
    inner = Box[List](heap, [1])

    assert expected == repr(box)
    assert expected == repr(box)
    assert "[Box[List]([1]), Box[List]([1])]" == repr([inner, inner])


def test_old_blocks_are_freed(heap):
    """However often the contents change, the heap stops growing."""
    table = Box[Dict](heap)
    sizes = []
    for i in range(2_000):
        table[i % 7] = "x" * (i * 37 % 5_000)
        sizes.append(heap.statistics().file_bytes)

    assert 2 == heap.statistics().blocks
    assert sizes[500] == sizes[-1]


def test_no_room(heap):
    """If the heap is full, a change is a MemoryError, and the contents stay."""
    small = Heap(1 << 17)
    values = Box[List](small, [1])

    with pytest.raises(MemoryError):
        values.append("x" * (1 << 18))
    assert [1] == values
    values.append(2)
    assert [1, 2] == values


def test_large_contents(heap):
    """Contents of many pages are in one piece."""
    values = Box[List](heap, [os.urandom(100_000) for _ in range(30)])

    assert values.copy() == pickle.loads(pickle.dumps(values)).copy()


# ---- with others ---------------------------------------------------------------------------------


def append_many(values: List, table: Dict, me: int, n: int) -> None:
    for i in range(n):
        values.append((me, i))
        table[me, i] = i
        assert (me, i) == table.setdefault("newest", (me, i)) or table.pop("newest", None) or True


@pytest.mark.slow
def test_processes_lose_nothing(ctx, heap):
    """What several processes put into one List or Dict is all there, each one's in its order."""
    values, table = Box[List](heap), Box[Dict](heap)
    processes = [ctx.Process(target=append_many, args=(values, table, me, 100)) for me in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [0] * 3 == [process.exitcode for process in processes]
    for me in range(3):
        assert [(me, i) for i in range(100)] == [each for each in values if each[0] == me]
    table.pop("newest", None)
    assert {(me, i): i for me in range(3) for i in range(100)} == table


@pytest.mark.slow
def test_threads_lose_nothing(heap):
    """So is what threads put there."""
    values, table = Box[List](heap), Box[Dict](heap)
    threads = [
        threading.Thread(target=append_many, args=(values, table, me, 100)) for me in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 400 == len(values)
    table.pop("newest", None)
    assert 400 == len(table)


def test_readers_wait_for_a_change(heap):
    """Who has to read the contents anew waits for whoever is changing them."""
    table = Box[Dict](heap, a=1)
    other = pickle.loads(pickle.dumps(table))
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(other["a"]))
    with table._changing(dict) as contents:
        reader.start()
        reader.join(0.05)
        assert [] == found
        contents["a"] = pickle.dumps(2)
    reader.join()

    assert [2] == found


def change_for_ever(table: Dict, values: List, ready: Any) -> None:
    i = 0
    while True:
        table.update(a=i, b=i, filler="x" * (i * 41 % 3000))
        values[:] = [i] * (i % 50 + 1)
        i += 1
        if i == 3:
            ready.set()


@pytest.mark.slow
def test_killed_while_changing():
    """Killed at any time, a process leaves the old contents or the new ones, and nobody hangs."""
    heap = Heap()
    table, values = Box[Dict](heap), Box[List](heap)
    ctx = multiprocessing.get_context("fork")
    rng = random.Random(4)
    for _ in range(60):
        ready = ctx.Event()
        child = ctx.Process(target=change_for_ever, args=(table, values, ready))
        child.start()
        assert ready.wait(60)
        time.sleep(rng.random() * 0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.join()

        assert table["a"] == table["b"]
        assert 1 == len(set(values))
        table["mine"] = values.copy()

    table["a"] = values[0]
    values.append(0)
    assert 4 == heap.statistics().blocks  # each of two boxes and its contents: none was lost


class Killed(BaseException):
    """What a kill is, for a test in one process."""


# What `_store` does, one after the other, is: link, fill, commit, unlink.
STEPS = ["begun", "linked", "filled", "committed", "freed"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_each_step(step, heap):
    """Whatever step of a change it was killed in: old or new contents, and nothing lost."""
    table = Box[Dict](heap, a=1)
    assert 2 == heap.statistics().blocks
    pid = os.fork()
    if pid == 0:
        dying = _Dying(heap, table._changes, step)
        table._heap, table._changes = dying, dying
        table["a"] = 2
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert signal.SIGKILL == os.WTERMSIG(status)

    assert {"a": 1 if step in ("begun", "linked", "filled") else 2} == table
    table["b"] = 3
    table["c"] = 4
    assert 2 == heap.statistics().blocks
    table.free()
    assert 0 == heap.statistics().blocks


class _Dying:
    """A Dict's heap, and the word of its changes, in a process that is killed after that step."""

    def __init__(self, heap: Heap, changes: Any, step: str) -> None:
        self._heap, self._word, self._step = heap, changes, step
        self._linked = heap._linked
        self._committed = False

    def _done(self, step: str) -> None:
        if step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)

    def _link(self, link: memoryview, size: int) -> memoryview:
        self._done("begun")
        block = self._heap._link(link, size)
        self._done("linked")
        return block

    def _unlink(self, link: memoryview) -> None:
        self._heap._unlink(link)
        if self._committed:
            self._done("freed")

    def __getitem__(self, index: int) -> int:
        return self._word[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._done("filled")
        self._word[index] = value
        self._committed = True
        self._done("committed")

"""Classes made on demand, and found by name alone: by pickle, in any process."""

from __future__ import annotations

import operator
import pickle
import pickletools
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from tests.programs import environment

from mpmetrics.generics import (
    FloatType,
    GenericMeta,
    IntType,
    ListType,
    ObjectType,
    ProductType,
)

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Calls:
    """A `make` that makes a class, and remembers with what it was called."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def __call__(self, qualname: str, *parameters: Any) -> type:
        self.seen.append((qualname, *parameters))
        time.sleep(0.0001)  # gives way to other threads, as an import would
        return type(qualname, (), {"__module__": __name__, "parameters": parameters})


def make(qualname: str, *parameters: Any) -> type:
    return type(qualname, (), {"parameters": parameters})


def make_without_module(qualname: str, *parameters: Any) -> type:
    return type(qualname, (Base,), {"of": parameters})


class Base(metaclass=GenericMeta):
    pass


def make_by_statement(qualname: str, *parameters: Any) -> type:
    class Made(metaclass=GenericMeta):
        of = parameters

    return Made


class Outer:
    class Inner:
        pass

    class _Private:
        pass

    inside = IntType("Outer.inside", make)

    @property
    def trap(self) -> None:
        raise AssertionError("a descriptor was asked")


def function() -> None:
    raise AssertionError("a function was called")


Int = IntType("Int", make)
Float = FloatType("Float", make)
Obj = ObjectType("Obj", make)
Product = ProductType("Product", make, (ObjectType, IntType))
Mixed = ProductType("Mixed", make, (FloatType, ObjectType, IntType, FloatType))
Ints = ListType("Ints", make, IntType)
Floats = ListType("Floats", make, FloatType)
Objects = ListType("Objects", make, ObjectType)
Stated = IntType("Stated", make_by_statement)
Bare = IntType("Bare", make_without_module)


def by_name(generic: Any, name: str) -> Any:
    return operator.attrgetter(name)(generic)


def in_fresh_interpreter(classes: list[Any], protocol: int | None = None) -> list[str]:
    """The qualnames of what a new process unpickles, which sends it back."""
    program = (
        "import pickle, sys; made = pickle.load(sys.stdin.buffer); "
        "assert made == pickle.loads(pickle.dumps(made)); "
        "pickle.dump(([c.__qualname__ for c in made], made), sys.stdout.buffer)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(classes, protocol),
        capture_output=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr.decode()
    names, back = pickle.loads(done.stdout)
    assert all(a is b for a, b in zip(classes, back, strict=True))
    return names


# ---- numbers -------------------------------------------------------------------------------------


def test_int_type_makes_once():
    """An attribute that is a number, and the index, are what one call of `make` returned."""
    calls = Calls()
    generic = IntType("t", calls)

    made = getattr(generic, "5")

    assert made is generic[5] is getattr(generic, "5")
    assert [("t.5", 5)] == calls.seen


@pytest.mark.parametrize("number", [0, 1, -5, 10**40])
def test_int_type_takes_every_integer(number):
    """Signs and size don't matter."""
    assert getattr(Int, str(number)) is Int[number]
    assert f"Int.{number}" == Int[number].__qualname__


def test_spellings_of_one_number_are_one_class():
    """Another spelling of a number leads to the class that has the usual one."""
    assert Int[5] is getattr(Int, "05") is getattr(Int, "+5") is Int[True + 4]
    assert Float[1000.0] is getattr(Float, "1e3") is by_name(Float, "1000.00")


@pytest.mark.parametrize(
    "name", ["", "x", "5x", "0x5", " 5", "5_0", "５", "5.5", "--5", "-", "1" * 5000]
)
def test_int_type_refuses_what_is_no_integer(name):
    """A name that is no decimal integer is an AttributeError."""
    with pytest.raises(AttributeError):
        getattr(Int, name)


@pytest.mark.parametrize("wrong", [5.0, "5", None, int, (1, 2), b"5"])
def test_int_type_refuses_what_is_no_index(wrong):
    """An index that is no integer is a TypeError."""
    with pytest.raises(TypeError):
        Int[wrong]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.5, "1.5"),
        (-1.5, "-1.5"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1e16, "1e+16"),
        (-1.5e-07, "-1.5e-07"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
        (3, "3.0"),
    ],
)
def test_float_type(number, text):
    """Floats are written as repr does, exponents and signs too; their dot is one of the name's."""
    made = Float[number]

    assert f"Float.{text}" == made.__qualname__
    assert made is Float[number] is by_name(Float, text) is getattr(Float, text)
    assert repr(float(number)) == repr(made.parameters[0])


@given(st.floats())
def test_every_float_is_found_by_its_name(number):
    """Whatever the float, its class is found by the class's qualname."""
    assert Float[number] is by_name(sys.modules[__name__], Float[number].__qualname__)


@pytest.mark.parametrize(
    "name", ["", "x", "1.x", "1.5.5", "e5", "1.5e", ".5", "1_0.5", "nano", "1.-5"]
)
def test_float_type_refuses_what_is_no_float(name):
    """A name that is no float is an AttributeError."""
    with pytest.raises(AttributeError):
        by_name(Float, name)


# ---- classes -------------------------------------------------------------------------------------


def test_object_type_makes_once():
    """The path between brackets is walked to the class, and `make` is called once."""
    calls = Calls()
    generic = ObjectType("Box", calls)

    made = by_name(generic, "<.collections.OrderedDict.>")

    import collections

    assert made is generic[collections.OrderedDict]
    assert [("Box.<.collections.OrderedDict.>", collections.OrderedDict)] == calls.seen


@pytest.mark.parametrize(
    ("cls", "path"),
    [
        (int, "builtins.int"),
        (Outer, f"{__name__}.Outer"),
        (Outer.Inner, f"{__name__}.Outer.Inner"),
        (Outer._Private, f"{__name__}.Outer._Private"),
        (Outer.inside[5], f"{__name__}.Outer.inside.5"),
        (Path, f"{Path.__module__}.Path"),
        (Int[5], f"{__name__}.Int.5"),
        (Obj[int], f"{__name__}.Obj.<.builtins.int.>"),
        (
            Product[Product[int, 5], 3],
            f"{__name__}.Product.<.{__name__}.Product.<.builtins.int.>.5.>.3",
        ),
    ],
)
def test_object_type_walks_modules_then_attributes(cls, path):
    """Modules, classes in classes and other generics stand in a path; its brackets are counted."""
    assert f"Obj.<.{path}.>" == Obj[cls].__qualname__
    assert Obj[cls] is by_name(Obj, f"<.{path}.>")


def test_aliases_lead_to_one_class():
    """By whatever path a class is reached, what is made of it is one class."""
    import pathlib

    assert Obj[pathlib.Path] is by_name(Obj, "<.pathlib.Path.>")
    assert Obj[Outer] is by_name(Obj, f"<.{__name__}.types_alias.>")


types_alias = Outer


@pytest.mark.parametrize(
    "name",
    [
        "x",
        ">",
        "<.>",
        "<.>.>",
        "<.int.>",
        "<.builtins.>",
        "<.builtins.nothing.>",
        "<.no_such_module.C.>",
        "<.collections.no_such_module.C.>",
        "<.os.system.>",
        "<.builtins.print.>",
        f"<.{__name__}.function.>",
        f"<.{__name__}.Outer.trap.>",
        f"<.{__name__}.Outer.trap.fget.>",
        f"<.{__name__}.Outer.__class__.>",
        f"<.{__name__}.Outer.__base__.>",
        f"<.{__name__}.function.__class__.>",
        f"<.{__name__}.function.__globals__.>",
        f"<.{__name__}.__loader__.>",
        f"<.{__name__}.Int.>",
        f"<.{__name__}.Int.x.>",
        f"<.{__name__}.Obj.<.>.>",
        "<.builtins..int.>",
        "<...int.>",
        "<./tmp/x.C.>",
        "<.tests/programs.Program.>",
        "<.\0.C.>",
        "<.<.builtins.int.>.>",
        "<.builtins.<.int.>.>",
        "<.builtins.int.<locals>.C.>",
    ],
)
def test_object_type_refuses_what_is_no_class(name):
    """A name that leads to no class, over modules, classes and generics, is an AttributeError."""
    with pytest.raises(AttributeError):
        by_name(Obj, name)


def test_unfinished_name_is_no_class():
    """A name that ends in the middle leads to no class, nor to anything that does something."""
    unfinished = by_name(Obj, "<.builtins.int")

    assert not isinstance(unfinished, type)
    assert not callable(unfinished)
    with pytest.raises(TypeError):
        unfinished[5]


@pytest.mark.parametrize("wrong", [5, "int", None, list[int], function])
def test_object_type_refuses_what_is_not_a_class(wrong):
    """An index that is no class is a TypeError."""
    with pytest.raises(TypeError):
        Obj[wrong]


@pytest.mark.parametrize(
    "name", ["<", ">", "A.<.B", "A.>.<", "A.<.B.>.>", "A<", "A>", "><", "a<.>"]
)
def test_unmatched_brackets_are_refused(name):
    """A class whose qualname has unmatched brackets is a TypeError, and nothing is made."""
    calls = Calls()
    cls = type("C", (), {"__qualname__": name})

    with pytest.raises(TypeError, match="unmatched brackets"):
        ObjectType("t", calls)[cls]
    assert [] == calls.seen


def test_brackets_of_the_module_count():
    """The same if the brackets are the module's."""
    with pytest.raises(TypeError, match="unmatched brackets"):
        Obj[type("C", (), {"__module__": "a.<"})]


def test_matched_brackets_are_taken():
    """A class made in a function has `<locals>` in its name, which is whole; pickle refuses it."""

    class Local:
        pass

    class Other:
        pass

    Other.__qualname__ = Local.__qualname__

    assert Local is Obj[Local].parameters[0]
    assert Other is Obj[Other].parameters[0]  # of the same name, but another class
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(Obj[Local])


def test_nesting_is_bounded():
    """What is nested too deep is refused: TypeError for a class, AttributeError for a name."""
    cls: Any = int
    with pytest.raises(TypeError, match="deep"):  # noqa: PT012
        for _ in range(100):
            cls = Obj[cls]

    assert cls is pickle.loads(pickle.dumps(cls))
    deep = 10_000
    name = f"<.{__name__}.Obj." * deep + "<.builtins.int" + ".>" * (deep + 1)
    with pytest.raises(AttributeError, match="deep"):
        by_name(Obj, name)


def test_only_named_modules_are_imported(tmp_path):
    """A name imports the modules that it names, with their parents, and no others."""
    package = tmp_path / "named_package"
    package.mkdir()
    (package / "__init__.py").write_text("class Direct:\n    class Below: pass\n")
    (package / "named.py").write_text("class C: pass\n")
    for trap in ("beside", "Direct"):
        (package / f"{trap}.py").write_text("raise AssertionError('imported')\n")
    program = f"""if True:
        import sys, operator
        sys.path.insert(0, {str(tmp_path)!r})
        from mpmetrics.generics import ObjectType
        t = ObjectType("t", lambda name, cls: cls)
        before = set(sys.modules)
        for name in ("<.named_package", "<.named_package.>.>", "<.nothing.C.>"):
            try:
                operator.attrgetter(name)(t)
            except AttributeError:
                pass
        get = lambda name: operator.attrgetter(name)(t)
        assert get("<.named_package.Direct.>").__name__ == "Direct"
        assert get("<.named_package.Direct.Below.>").__name__ == "Below"
        assert sorted(set(sys.modules) - before) == ["named_package"], set(sys.modules) - before
        assert get("<.named_package.named.C.>").__name__ == "C"
        print(sorted(set(sys.modules) - before))
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )

    assert "['named_package', 'named_package.named']\n" == done.stdout, done.stderr


def test_broken_module_is_an_attribute_error(tmp_path, monkeypatch):
    """A module that can't be imported is an AttributeError, caused by the ImportError."""
    (tmp_path / "broken_module_of_test.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(AttributeError) as caught:
        by_name(Obj, "<.broken_module_of_test.C.>")

    assert isinstance(caught.value.__cause__, ImportError)


malformed = st.lists(
    st.sampled_from(
        ["<", ">", "builtins", "int", "os", "system", "5", "-1", "", "__class__", "x y"]
    )
    | st.text(max_size=5).filter(lambda s: "." not in s),
    max_size=12,
)


@given(malformed, st.sampled_from(["Obj", "Int", "Float", "Product", "Ints", "Objects", "Mixed"]))
def test_malformed_names_execute_nothing(parts, generic):
    """Any name is a class, an unfinished path or an AttributeError, and nothing is run."""
    events: list[str] = []
    _watchers.append(events.append)
    try:
        found = by_name(globals()[generic], ".".join(parts)) if parts else None
    except AttributeError:
        found = None
    finally:
        _watchers.pop()

    assert found is None or isinstance(found, type) or type(found).__name__ == "_Path"
    assert not {"os.system", "exec", "subprocess.Popen", "socket.connect"} & set(events)


_watchers: list[Any] = []
sys.addaudithook(lambda event, _: _watchers[-1](event) if _watchers else None)


# ---- several parameters --------------------------------------------------------------------------


def test_product_type_chains():
    """One parameter follows the other in the name, and so do indices; `make` gets them all."""
    calls = Calls()
    generic = ProductType("Array", calls, (ObjectType, IntType))

    made = generic[Outer, 5]

    assert f"Array.<.{__name__}.Outer.>.5" == made.__qualname__
    assert made is generic[Outer][5] is by_name(generic, f"<.{__name__}.Outer.>.5")
    assert [(made.__qualname__, Outer, 5)] == calls.seen


def test_product_type_of_every_kind():
    """Floats with dots, classes and integers stand in any order."""
    made = Mixed[-1.5, Int[3], -2, 1e-7]

    assert f"Mixed.-1.5.<.{__name__}.Int.3.>.-2.1e-07" == made.__qualname__
    assert made is by_name(Mixed, made.__qualname__.removeprefix("Mixed."))
    assert (-1.5, Int[3], -2, 1e-7) == made.parameters


@pytest.mark.parametrize("wrong", [5, (int, "5"), (5, int), (int, 5, 5), (int, int)])
def test_product_type_refuses(wrong):
    """Parameters of another kind, or too many of them, are a TypeError."""
    with pytest.raises(TypeError):
        Product[wrong]


@pytest.mark.parametrize("kinds", [(), (int,), (ObjectType, ListType), (None,)])
def test_product_type_is_of_the_three_kinds(kinds):
    """A ProductType of anything but ObjectType, IntType and FloatType is a TypeError."""
    with pytest.raises(TypeError):
        ProductType("t", make, kinds)


@pytest.mark.parametrize(
    ("generic", "parameters", "qualname"),
    [
        (Ints, (), "Ints.<.>"),
        (Ints, (1,), "Ints.<.1.>"),
        (Ints, (1, -2, 3), "Ints.<.1.-2.3.>"),
        (Floats, (1.5, 1e20, -0.0), "Floats.<.1.5.1e+20.-0.0.>"),
        (Objects, (int, str), "Objects.<.<.builtins.int.>.<.builtins.str.>.>"),
        (Objects, (Ints[1],), f"Objects.<.<.{__name__}.Ints.<.1.>.>.>"),
    ],
)
def test_list_type(generic, parameters, qualname):
    """Any number of parameters of one kind stand between brackets."""
    made = generic[parameters]

    assert qualname == made.__qualname__
    assert parameters == made.parameters
    assert made is by_name(sys.modules[__name__], qualname)


@pytest.mark.parametrize("ask", [iter, list, lambda generic: "x" in generic])
def test_a_generic_is_no_sequence(ask):
    """Who takes a generic for a sequence gets a TypeError, and no class is made for each index."""
    make = Calls()
    product = ProductType("P", make, (ObjectType, IntType))
    for generic in (IntType("G", make), product, product[int]):
        with pytest.raises(TypeError):
            ask(generic)

    assert [] == make.seen


def test_list_type_of_one_needs_no_tuple():
    """A single parameter stands for itself."""
    assert Ints[(5,)] is Ints[5]


@pytest.mark.parametrize("name", [">", "5", "<.x.>", "<.5.<.>.>", "<.5.>.5"])
def test_list_type_refuses(name):
    """A list that doesn't begin, or is of something else, is an AttributeError."""
    with pytest.raises(AttributeError):
        by_name(Ints, name)


def test_make_that_refuses():
    """What `make` refuses is its own error by index, and an AttributeError by name."""

    def picky(qualname: str, number: int) -> type:
        raise ValueError("too small")

    generic = IntType("t", picky)

    with pytest.raises(ValueError, match="too small"):
        generic[-1]
    with pytest.raises(AttributeError, match="too small"):
        getattr(generic, "-1")


# ---- pickle --------------------------------------------------------------------------------------

MADE = [
    Int[5],
    Int[-5],
    Float[1.5],
    Float[-1e-7],
    Float[float("inf")],
    Obj[int],
    Obj[Obj[Outer.Inner]],
    Product[Product[Outer, 5], 3],
    Mixed[-1.5, Int[3], -2, 1e-7],
    Ints[1, -2, 3],
    Ints[()],
    Floats[1.5, -2.5],
    Objects[int, Product[int, 5]],
    Outer.inside[7],
    Stated[4],
    Obj[Stated[4]],
    Bare[3],
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickle_by_name(protocol):
    """At every protocol, by the C pickler or Python's, a class comes back as that very class."""
    for made in MADE:
        for dumps in (pickle.dumps, pickle._dumps):
            for loads in (pickle.loads, pickle._loads):
                assert made is loads(dumps(made, protocol)), made


def test_pickle_has_only_the_name():
    """From protocol 4 on the pickle is the module and the qualname, and nothing else."""
    strings = [
        arg for _, arg, _ in pickletools.genops(pickle.dumps(Product[int, 5])) if type(arg) is str
    ]

    assert [__name__, "Product.<.builtins.int.>.5"] == strings


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickle_into_a_fresh_interpreter(protocol):
    """A process that has never seen a class makes it of its name, and sends the same back."""
    assert [made.__qualname__ for made in MADE] == in_fresh_interpreter(MADE, protocol)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.builds(lambda c: Obj[c], inner)
        | st.builds(lambda c, n: Product[c, n], inner, st.integers())
        | st.builds(lambda cs: Objects[tuple(cs)], st.lists(inner, max_size=3))
        | st.builds(
            lambda f, c, n, g: Mixed[f, c, n, g], st.floats(), inner, st.integers(), st.floats()
        )
    )


leaves = (
    st.sampled_from([int, Outer, Outer.Inner, Path])
    | st.builds(lambda n: Int[n], st.integers())
    | st.builds(lambda f: Float[f], st.floats())
    | st.builds(lambda fs: Floats[tuple(fs)], st.lists(st.floats(), max_size=3))
)


@pytest.mark.slow
def test_random_classes_survive_pickling_into_a_fresh_interpreter():
    """Whatever classes are made, a fresh interpreter makes the same of their names."""
    made: list[Any] = []

    @given(st.recursive(leaves, nested, max_leaves=6))
    def collect(cls: Any) -> None:
        assert cls is pickle.loads(pickle.dumps(cls))
        made.append(cls)

    collect()

    assert [cls.__qualname__ for cls in made] == in_fresh_interpreter(made)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("generic", [Int, Float, Obj, Product, Ints, Outer.inside], ids=repr)
def test_generics_pickle_by_name(generic, protocol):
    """A generic itself comes back as that very object."""
    assert generic is pickle.loads(pickle.dumps(generic, protocol))


def test_a_class_statement_in_make_is_named():
    """A class that `make` defines by a class statement gets the name that pickle finds it by."""
    assert "Stated.4" == Stated[4].__qualname__
    assert __name__ == Stated[4].__module__


def test_a_class_that_is_handed_on_keeps_its_name():
    """A `make` that returns its parameter, or something that is no class, leaves it as it is."""

    class Local:
        pass

    name = Local.__qualname__

    assert Local is ObjectType("t", lambda _, cls: cls)[Local]
    assert name == Local.__qualname__
    assert "t.5" == IntType("t", lambda name, _: name)[5]


def test_a_class_made_by_type_has_its_callers_module():
    """As with any other class, a call of `type` gives one the module in which the call stands."""
    assert __name__ == type("C", (Base,), {}).__module__
    assert "x" == type("C", (Base,), {"__module__": "x"}).__module__
    assert __name__ == Bare[5].__module__


def test_generic_knows_its_module():
    """A generic stands in the module whose code made it, as pickle will look for it there."""
    module = types.ModuleType("elsewhere")
    exec("from mpmetrics.generics import *\nG = IntType('G', lambda n, i: i)", module.__dict__)
    exec("P = ProductType('P', lambda n, i: i, (IntType,))", module.__dict__)

    assert ["elsewhere"] * 2 == [module.G.__module__, module.P.__module__]


# ---- threads -------------------------------------------------------------------------------------


def test_threads_make_one_class():
    """Threads that ask first all at once get one class, of one call of `make`."""
    n = 8
    for number in range(50):
        calls = Calls()
        generic = IntType("t", calls)
        barrier = threading.Barrier(n)
        found: list[Any] = []

        def ask(generic=generic, barrier=barrier, found=found, number=number) -> None:
            barrier.wait()
            found.append(getattr(generic, str(number)))

        threads = [threading.Thread(target=ask) for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert n == len(found)
        assert 1 == len(set(found)) == len(calls.seen)


def test_fork_while_making(tmp_path):
    """A process forked while another thread makes a class can make classes itself."""
    program = """if True:
        import os, threading
        from mpmetrics.generics import IntType
        inside, go = threading.Event(), threading.Event()
        def slow(name, n):
            if n == 1:
                inside.set()
                go.wait(30)
            return n
        t = IntType("t", slow)
        thread = threading.Thread(target=lambda: t[1])
        thread.start()
        inside.wait()
        pid = os.fork()
        if pid == 0:
            os._exit(t[2])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        go.set()
        thread.join()
        print(status)
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, env=environment(), timeout=60, check=False,
    )  # fmt: skip

    assert "2\n" == done.stdout, done.stderr


# ---- programs ------------------------------------------------------------------------------------

PROGRAM = """if True:
    import sys
    cloudpickle = __import__("cloudpickle")
    from mpmetrics.generics import *

    class Own(metaclass=GenericMeta):
        pass

    def make(name, *parameters):
        return type(Own)(name, (), {"of": parameters})

    Pair = ProductType("Pair", make, (ObjectType, IntType))
    import tests.test_generics as known

    local = Pair[Own, 5]
    def work():
        return Pair[Own, 5].of, local.of
    sent = local, known.Stated[4], known.Nest[Own], Pair, work
    sys.stdout.buffer.write(cloudpickle.dumps(sent))
"""


def make_nest(name: str, cls: type) -> type:
    return GenericMeta(name, (), {"of": cls, "__module__": __name__})


Nest = ObjectType("Nest", make_nest)


def test_cloudpickle_takes_a_programs_own_classes_along():
    """What a program's own generics and classes make reaches a process with another `__main__`."""
    cloudpickle = pytest.importorskip("cloudpickle")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, env=environment(), check=False
    )
    assert 0 == done.returncode, done.stderr.decode()

    local, stated, nest, pair, work = cloudpickle.loads(done.stdout)

    assert 5 == local.of[1]
    assert stated is Stated[4]
    assert nest is Nest[nest.of]
    assert "Own" == nest.of.__name__
    assert pair[int, 3] is pair[int, 3]
    assert [5, 5] == [of[1] for of in work()]

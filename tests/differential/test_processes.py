"""Several processes: the same program spread over forked workers, and one sequential model."""

from __future__ import annotations

import multiprocessing
import os

import prometheus_client
import pytest
from hypothesis import given, settings, strategies as st
from tests.sharing import share

import mpmetrics

from .programs import EXACT, Call, Declaration, World, in_any_order, programs

FORK = multiprocessing.get_context("fork")
SETTINGS = settings(deadline=None, max_examples=50)
WORKERS = st.lists(st.integers(0, 3), min_size=20, max_size=20)

pytestmark = pytest.mark.slow


def obey(pipe, world):
    """Runs the calls that it is sent, and says what came of them; None ends it.

    By os._exit: what the parent registered for its own end is not to run here."""
    try:
        while (calls := pipe.recv()) is not None:
            world.outcomes = []
            world.run(calls)
            share()
            pipe.send((world.outcomes, in_any_order(world.samples())))
    finally:
        os._exit(0)


class Crew:
    """Four workers, forked from a process that has declared everything."""

    def __init__(self, world):
        self.pipes, self.processes = [], []
        for _ in range(4):
            mine, theirs = FORK.Pipe()
            process = FORK.Process(target=obey, args=(theirs, world))
            process.start()
            theirs.close()
            self.pipes.append(mine)
            self.processes.append(process)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join()


def model_of(program):
    model = World(prometheus_client, program.declarations)
    model.run(program.calls)
    return model


@SETTINGS
@given(program=programs(numbers=EXACT), turns=WORKERS)
def test_one_after_the_other(program, turns):
    """Calls in four processes, in turn, are one sequence: every process sees all those before."""
    model = World(prometheus_client, program.declarations)
    ours = World(mpmetrics, program.declarations)
    with Crew(ours) as crew:
        for call, turn in zip(program.calls, turns, strict=False):
            model.outcomes = []
            model.run([call])
            crew.pipes[turn].send([call])
            outcomes, samples = crew.pipes[turn].recv()

            assert model.outcomes == outcomes
            assert in_any_order(model.samples()) == samples

    assert in_any_order(model.samples()) == in_any_order(ours.samples())


@SETTINGS
@given(
    program=programs(numbers=EXACT, removal=False, gauge_set=False, exemplars=False),
    turns=WORKERS,
)
def test_all_at_once(program, turns):
    """Additions in four processes at once give what one process would have counted."""
    model = model_of(program)
    ours = World(mpmetrics, program.declarations)
    shares = [[], [], [], []]
    for call, turn in zip(program.calls, turns, strict=False):
        shares[turn].append(call)
    with Crew(ours) as crew:
        for pipe, calls in zip(crew.pipes, shares, strict=True):
            pipe.send(calls)
        for pipe in crew.pipes:
            pipe.recv()
        for pipe in crew.pipes:
            pipe.send([])

        assert [in_any_order(model.samples())] * 4 == [pipe.recv()[1] for pipe in crew.pipes]

    assert in_any_order(model.samples()) == in_any_order(ours.samples())


@pytest.mark.parametrize("type_", ["Counter", "Gauge", "Summary", "Histogram", "Enum", "Info"])
@pytest.mark.parametrize("labelled", [False, True])
def test_first_update_is_a_childs(type_, labelled):
    """What a forked child does first to a metric that its parent never touched is counted."""
    declared = Declaration(
        type_, "m", labelnames=("a",) * labelled, options=(("states", "ab"),) * (type_ == "Enum")
    )
    method, argument = {
        "Summary": ("observe", 1),
        "Histogram": ("observe", 1),
        "Enum": ("state", "b"),
        "Info": ("info", {"k": "v"}),
    }.get(type_, ("inc", 1))
    call = Call(0, method, (argument,), ("x",) * labelled)
    model, ours = World(prometheus_client, [declared]), World(mpmetrics, [declared])
    if labelled:
        model.metrics[0].labels("x"), ours.metrics[0].labels("x")
    model.run([call])
    with Crew(ours) as crew:
        crew.pipes[0].send([call])
        seen_by_child = crew.pipes[0].recv()[1]

    assert in_any_order(model.samples()) == seen_by_child
    assert in_any_order(model.samples()) == in_any_order(ours.samples())


@pytest.mark.parametrize("type_", ["Counter", "Gauge", "Summary", "Histogram", "Enum"])
def test_parent_without_labels_is_refused_in_a_child(type_):
    """A forked child, too, is told that label values are missing."""
    declared = Declaration(
        type_, "m", labelnames=("a",), options=(("states", "ab"),) * (type_ == "Enum")
    )
    method = {"Enum": "state", "Counter": "inc", "Gauge": "set"}.get(type_, "observe")
    ours = World(mpmetrics, [declared])
    with Crew(ours) as crew:
        crew.pipes[0].send([Call(0, method, ("b" if type_ == "Enum" else 1,))])

        assert [ValueError] == crew.pipes[0].recv()[0]

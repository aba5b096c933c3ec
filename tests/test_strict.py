"""MPMETRICS_STRICT=1: two shapes of one name, of two living processes, are a ValueError."""

from __future__ import annotations

import pytest
from tests.programs import Program, environment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

# Declares what it is told, and says what came of it; as often as it is told.
DECLARING = """\
import sys
import mpmetrics
from mpmetrics import *
from tests.sharing import share

declared = []
for line in sys.stdin:
    if line.startswith("shown"):
        lines = generate_latest().decode().splitlines()
        print(*[each for each in lines if each.startswith(("a", "# TYPE a"))], flush=True)
        continue
    if line.startswith("private"):
        print(mpmetrics.store.current().statistics()["private"], flush=True)
        share()
        continue
    if line.startswith("unregister"):
        REGISTRY.unregister(declared.pop())
        print("done", flush=True)
        continue
    try:
        declared.append(eval(line))
    except ValueError as error:
        print(error, flush=True)
    else:
        print("declared", flush=True)
"""


def ask(program: Program, line: str) -> str:
    program.say(line)
    return program.read_line()


def declaring(store, strict: str = "1") -> Program:
    return Program(["-c", DECLARING], environment(store, MPMETRICS_STRICT=strict))


CLASHES = {
    "buckets": (
        "Histogram('a', 'h', buckets=[1, 2])",
        "Histogram('a', 'h', buckets=[1, 3])",
        "the histogram a, labels (), buckets (1.0, 2.0, inf)",
        "the histogram a, labels (), buckets (1.0, 3.0, inf)",
    ),
    "labels": (
        "Counter('a', 'h', ['x'])",
        "Counter('a', 'h', ['x', 'y'])",
        "the counter a, labels ('x',)",
        "the counter a, labels ('x', 'y')",
    ),
    "types": (
        "Counter('a', 'h')",
        "Summary('a', 'h')",
        "the counter a, labels ()",
        "the summary a, labels ()",
    ),
    "modes": (
        "Gauge('a', 'h')",
        "Gauge('a', 'h', multiprocess_mode='livesum')",
        "the gauge a, labels (), mode none",
        "the gauge a, labels (), mode livesum",
    ),
    "states": (
        "Enum('a', 'h', states=['x', 'y'])",
        "Enum('a', 'h', states=['y', 'x'])",
        "the stateset a, labels (), states ('x', 'y')",
        "the stateset a, labels (), states ('y', 'x')",
    ),
    "sample-names": (
        "Counter('a', 'h')",
        "Gauge('a_total', 'h')",
        "the counter a, labels ()",
        "the gauge a_total, labels (), mode none",
    ),
}


@pytest.mark.parametrize(("old", "new", "theirs", "ours"), CLASHES.values(), ids=CLASHES)
def test_clash(store, old, new, theirs, ours):
    """The error names both shapes, and who declared the other; nothing is declared by it."""
    with declaring(store) as first, declaring(store) as second:
        assert "declared" == ask(first, old)
        before = ask(first, "shown")
        said = ask(second, new)
        assert before == ask(first, "shown") == ask(second, "shown")
        assert said == ask(second, new)
        first.finish()
        second.finish()

    assert f"MPMETRICS_STRICT: declared here: {ours}; by process {first.pid}: {theirs}" == said


def test_same_shape(store):
    """The same shape with another help text is none, nor is the name in another registry."""
    with declaring(store) as first, declaring(store) as second:
        assert "declared" == ask(first, "Counter('a', 'h')")
        assert "declared" == ask(second, "Counter('a', 'another')")
        other = "Gauge('a', 'h', registry=CollectorRegistry(name='other'))"
        assert "declared" == ask(second, other)
        first.finish()
        second.finish()


def test_only_the_living(store):
    """What only the dead declared is none."""
    with declaring(store) as holder:
        assert "declared" == ask(holder, "Counter('held', 'h')")
        with declaring(store) as first:
            assert "declared" == ask(first, "Counter('a', 'h')")
            first.finish()
        assert "declared" == ask(holder, "Gauge('a', 'h')")
        holder.finish()


def test_own_shapes(store):
    """A process may let a name go and declare it otherwise, as tests do."""
    with declaring(store) as program:
        assert "declared" == ask(program, "Counter('a', 'h')")
        assert "done" == ask(program, "unregister")
        assert "declared" == ask(program, "Gauge('a', 'h')")
        program.finish()


def test_both_at_once(store):
    """Of two that declare at the same moment at least one is told."""
    with declaring(store) as first, declaring(store) as second:
        turn = together = 0
        while together < 20 and turn < 100:
            turn += 1
            first.say(f"Counter('c{turn}', 'h')")
            second.say(f"Gauge('c{turn}', 'h')")
            answers = [first.read_line(), second.read_line()]
            # Who can't have the store's lock for long declares for itself alone, for now.
            if [ask(first, "private"), ask(second, "private")] == ["0", "0"]:
                assert any(answer.startswith("MPMETRICS_STRICT") for answer in answers)
                together += 1
        assert 20 == together
        first.finish()
        second.finish()


@pytest.mark.parametrize("value", ["", "0", "no"])
def test_not_strict(store, value):
    """Without it the newer shape is shown, and there is no error."""
    with declaring(store, value) as first, declaring(store, value) as second:
        assert "declared" == ask(first, "Counter('a', 'h')")
        assert "declared" == ask(second, "Gauge('a', 'h')")
        first.finish()
        second.finish()

"""What daemonisers and servers do to a process: metrics go on, or one line says why not for all."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MADE_UP
from tests.programs import LIMIT, Program, environment, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

EXECS = 6
KINDS = ("named", "made up", "memfd")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Where the store is: at a path that was named, at one made up, or without a path."""
    return str(request.param)


def tried(function: str, kind: str, store: Path, *args: Any) -> dict[str, Any]:
    path = store if kind == "named" else None
    answer: dict[str, Any] = run(f"tests.crash.daemons:{function}", kind, *args, store=path)
    if "refused" in answer:
        pytest.skip(answer["refused"])
    return answer


def check_private(state: dict[str, Any]) -> None:
    """It counts by itself, and has said so once."""
    assert state["private"] > 0
    assert 1 == len(state["lines"])
    assert "can't be opened any more" in state["lines"][0]


def check_shared(state: dict[str, Any]) -> None:
    assert (0, []) == (state["private"], state["lines"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_descriptors_closed(kind, when, store):
    """os.closerange(3, 65536) after the import or after the first write costs nothing.

    Only a store without a name is out of reach then: its process goes on with what it has, and
    counts new label sets by itself. No file that got the store's number is touched."""
    outcome = tried("closed", kind, store, when)

    assert {} == outcome["wrong"]
    assert [] == outcome["foreign"]
    for each in (outcome["parent"], outcome["child"]):
        if (kind, when) == ("memfd", "after"):
            check_private(each)
        else:
            check_shared(each)


def test_daemon(kind, store, tmp_path):
    """Two forks, setsid, chdir and closed descriptors: the daemon and its workers count on.

    A store that was made up is there as long as the daemon, and goes with it."""
    answer = tmp_path / "answer"
    code = f"from tests.crash.daemons import daemon; daemon({kind!r}, {str(answer)!r})"
    with Program(["-c", code], environment(store if kind == "named" else None)) as program:
        said = program.finish()  # the first of the three is gone
        outcome = awaited(answer, said)
    if "refused" in outcome:
        pytest.skip(outcome["refused"])

    assert {} == outcome["wrong"]
    for each in (outcome["daemon"], outcome["worker"]):
        if kind == "memfd":
            check_private(each)
        else:
            check_shared(each)
    if kind == "made up":
        assert MADE_UP == Path(outcome["path"]).parent
        wait_until_gone(Path(outcome["path"]))


def awaited(answer: Path, said: str) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT
    while not answer.exists():
        assert time.monotonic() < deadline, said
        time.sleep(0.01)
    outcome: dict[str, Any] = json.loads(answer.read_text())
    return outcome


def wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@as_root
def test_changed_uid(kind, store):
    """A worker that becomes nobody, before or after its first write, counts on, and makes series.

    So does its child, which has only what it inherits. Shards are as many as processes were at one
    time: those of nobody's are found dead when they are, and no sooner."""
    outcome = tried("changed_uid", kind, store)

    assert {} == outcome["wrong"]
    states = (
        outcome["before"],
        outcome["after"]["self"],
        outcome["after"]["child"],
        outcome["self"],
    )
    for state in states:
        check_shared(state)
    assert [2, 3, 3, 3] == [state["shards"] for state in states]


@as_root
def test_changed_uid_first(store):
    """Who may not read the store that is named counts by itself, and says so."""
    left = run("tests.crash.daemons:living_beside_nobody", store=store)  # so that there is one
    outcome = run("tests.crash.daemons:changed_uid_first", store=store)

    assert [3, 3] == left
    assert {} == outcome["wrong"]
    (line,) = outcome["lines"]
    assert "Permission denied" in line


@pytest.mark.parametrize("held", [False, True])
def test_exec_of_oneself(held, store, tmp_path):
    """A program that becomes itself again and again counts on: a new lease each time, one shard.

    The store is kept by MPMETRICS_PERSIST, or by a process that has it meanwhile."""
    answer = tmp_path / "answer"
    code = "from tests.crash.daemons import again_and_again as f; f({}, {!r})"
    env = environment(store) if held else environment(store, MPMETRICS_PERSIST="1")
    holder = "from tests.crash.full import begin; begin(); print('here', flush=True); input()"
    with Program(["-c", holder], env) as other:
        other.read_line()
        if not held:
            other.say("")
            other.finish()
        with Program(["-c", code.format(EXECS, str(answer))], env) as program:
            program.finish()
    outcome = json.loads(answer.read_text())
    once = run("tests.crash.daemons:once")

    assert {name: EXECS * value for name, value in once.items()} == outcome["page"]
    assert EXECS + 1 == outcome["leases"]
    assert 1 + held == outcome["shards"]
    check_shared(outcome)


def test_exec_without_a_name(tmp_path):
    """Without a name each has a store of its own, and leaves none behind."""
    answer = tmp_path / "answer"
    code = f"from tests.crash.daemons import again_and_again as f; f(3, {str(answer)!r})"
    with Program(["-c", code], environment()) as program:
        program.finish()
    outcome = json.loads(answer.read_text())

    assert run("tests.crash.daemons:once") == outcome["page"]
    assert (1, 1) == (outcome["leases"], outcome["shards"])

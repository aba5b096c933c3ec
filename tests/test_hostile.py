"""Damaged stores, met from Python; the core itself is fuzzed in native/tests/test_hostile.c."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st
from tests.programs import Program, environment

pytestmark = [pytest.mark.slow]

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "25"))
EDITS = st.lists(
    st.tuples(
        st.sampled_from(("word", "flip", "add", "name", "copy", "truncate")),
        st.integers(0, 1 << 24),
        st.one_of(st.integers(0, 300), st.integers(0, (1 << 64) - 1)),
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def meeting() -> Iterator[Program]:
    """A program that damages a store and uses it; on tmpfs, as stores are."""
    code = "import sys; from tests.hostile import meet; meet(sys.argv[1])"
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        Program(["-c", code, folder], environment()) as program,
    ):
        program.read_line()
        yield program
        program.finish()


@settings(deadline=None, max_examples=EXAMPLES)
@given(EDITS)
def test_damaged_store(meeting, edits):
    """Whatever stands in the file, no use of it ends by a signal, hangs, or raises a surprise.

    An application that meets it counts on; the commands and the side-car say what is wrong."""
    meeting.say(json.dumps(edits))

    assert [] == json.loads(meeting.read_line())

"""Metrics pickle by reference: unpickled they are the series that they were."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_same_object():
    """In a process that has the metric its pickle is that very object; a child's is that child."""
    assert [] == run("tests.matrix:same_here")


def test_unknown():
    """Elsewhere it is declared in its store, and takes its name from no module imported later."""
    assert [0, 13.0] == run("tests.matrix:unknown")


def test_private_registry(method):
    """A metric of a registry that only this process has counts for it in any child."""
    assert 2.0 == run("tests.matrix:private", method)


def test_other_store():
    """In a process with a store of its own a metric goes on counting in the one it came from."""
    assert [4.0, 4.0, False] == run("tests.matrix:other_store", False)


def test_store_that_is_gone():
    """If that can't be had it counts in the process's own store, and one line says so."""
    assert [1.0, 3.0, True] == run("tests.matrix:other_store", True)


def test_by_value(method):
    """So do metrics in a function that cloudpickle sends by value."""
    pytest.importorskip("cloudpickle")
    assert [2.0, 2.0] == run("tests.matrix:by_value", method)

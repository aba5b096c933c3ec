"""Under `make asan-python`: the sanitizers are there, and see what the extension does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.programs import LIMIT, environment
from tests.sanitized import IS_SANITIZED

pytestmark = pytest.mark.skipif(not IS_SANITIZED, reason="make asan-python runs this")

USE_AFTER_FREE = """\
import ctypes
from mpmetrics import _native

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
address = libc.malloc(64)
memory = (ctypes.c_char * 64).from_address(address)
number = _native.AtomicInt64()
number._over(memoryview(memory).cast("B"))
number.set(7)
libc.free(address)
print(number.get())
"""


def test_error_is_seen():
    """The extension that reads memory which was given back is stopped, by name and line."""
    ended = subprocess.run(
        [sys.executable, "-c", USE_AFTER_FREE],
        env=environment(ASAN_OPTIONS="detect_leaks=0"),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert 0 != ended.returncode, ended.stdout
    assert "heap-use-after-free" in ended.stderr
    assert "module_atomic.c" in ended.stderr


def test_core_is_instrumented():
    """Also for undefined behaviour."""
    from mpmetrics import _native

    assert _native.__file__ is not None
    code = Path(_native.__file__).read_bytes()

    assert b"__asan_report_load8" in code
    assert b"__ubsan_handle" in code

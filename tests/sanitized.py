"""What can't be tested under `make asan-python`, each with its reason."""

from __future__ import annotations

import os

import pytest

IS_SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")

_ADDRESSES = "AddressSanitizer itself reserves terabytes of addresses, so RLIMIT_AS can't be small"

# By what the test's id begins with.
CANNOT = {
    "tests/test_heap.py::test_limit_on_addresses": _ADDRESSES,
    "tests/test_deploy.py::test_limited_addresses": _ADDRESSES,
    "tests/crash/test_memory_full.py::test_little_address_space": _ADDRESSES,
    "tests/crash/test_memory_full.py::test_store_that_cannot_be_mapped": _ADDRESSES,
    "tests/crash/test_memory_full.py::test_addresses_run_out": _ADDRESSES,
    "tests/crash/test_soak.py::test_one_after_the_other": "AddressSanitizer keeps what is freed",
    "tests/test_run.py::test_status_of_a_signal[SEGV]": "AddressSanitizer takes SIGSEGV for itself",
}


def skip_what_cannot(items: list[pytest.Item]) -> None:
    for item in items if IS_SANITIZED else ():
        for beginning, reason in CANNOT.items():
            if item.nodeid.startswith(beginning):
                item.add_marker(pytest.mark.skip(reason=reason))

"""PROMETHEUS_MULTIPROC_DIR: what prometheus_client's multi-process mode asks for, and we don't.

`patch` makes programs right that have it: theirs or a library's code sets it, and reads metrics
through MultiProcessCollector. In a program of ours it is left over, with what belongs to it.
"""

from __future__ import annotations

import logging
import os

log = logging.getLogger("mpmetrics")

_NAMES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")  # the second is deprecated there

is_patched = False  # patching.py says so


def is_set() -> bool:
    """Would prometheus_client count in files?"""
    return any(name in os.environ for name in _NAMES)


def folder() -> str | None:
    """Where."""
    return next((os.environ[name] for name in _NAMES if name in os.environ), None)


def is_mode() -> bool:
    """Is this a program of prometheus_client's multi-process mode, which knows no registries?"""
    return is_patched and is_set()


def say_what_to_delete() -> None:
    """One line, where the variable is left over; said when a process first needs a store.

    Not at the import: `import mpmetrics; mpmetrics.patch()` would be told, too."""
    if is_set() and not is_patched:
        log.warning(
            "mpmetrics needs no PROMETHEUS_MULTIPROC_DIR. Delete the variable, the code that makes "
            "and empties the folder, mark_process_dead() in hooks such as gunicorn's child_exit, "
            "and MultiProcessCollector: generate_latest() shows all processes. What only imports "
            "prometheus_client still writes there, unless mpmetrics.patch() is called before it."
        )

"""MPMETRICS_LISTEN=HOST:PORT: processes that count in one store serve it there, one at a time.

A process begins with the first thing that it counts or declares: not by importing us, and a forked
child not by being forked. So there is no thread in a process that has nothing to show.
"""

from __future__ import annotations

import _thread
import logging
import os
import sys

from . import store as stores
from ._native import Store, on
from .endpoints import start_http_server

log = logging.getLogger("mpmetrics")

VARIABLE = "MPMETRICS_LISTEN"
# ADDRESS|STORE of the process that obeyed first. A program that it starts inherits VARIABLE: with
# another store it is no sibling, and must not wait for this one's port.
WHOSE = "MPMETRICS_LISTEN_STORE"


def address(text: str) -> tuple[str, int]:
    """HOST:PORT, or [HOST]:PORT, in its parts. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 0xFFFF:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def address_for(store: str) -> tuple[str, int] | None:
    """Where the processes of the store of that path or identity are to serve it, if anywhere.

    Notes for the programs that this one starts that they are. Raises ValueError."""
    text = os.environ.get(VARIABLE, "")
    whose, mine = os.environ.get(WHOSE, ""), f"{text}|{store}"
    if not text or (whose != mine and whose.startswith(f"{text}|")):
        return None
    os.environ[WHOSE] = mine
    try:
        return address(text)
    except ValueError as error:
        raise ValueError(f"{VARIABLE}: {error}") from None


def _begin(store: Store, why: str) -> None:
    # Called from within an update, perhaps of a signal handler: nothing may be waited for here, and
    # threading.Thread takes locks that whoever was interrupted may hold.
    if not os.environ.get(VARIABLE) or sys.is_finalizing():
        return
    if store is not stores.current(make=False):  # named by a pickle
        return
    try:
        where = address_for(store.path or store.identity)
        if where is not None:
            _thread.start_new_thread(_serve, where)
    except (ValueError, RuntimeError) as error:  # no such address; no thread can be had
        log.error("nothing is served: %s", error)


def _serve(host: str, port: int) -> None:
    try:
        start_http_server(port, host, shared=True)
    except Exception as error:  # whatever it is, it is not the application's
        log.error("nothing is served at %s=%s:%s: %s", VARIABLE, host, port, error)


on("shard", _begin)

"""A port for processes that all want it: the first one serves, and another one takes over.

Servers run in threads, and the processes that have one may fork. A child gets a copy of the
listening socket, which would keep the port, and of every lock, as it is just then. So the child
closes its copies, and a fork waits for whoever is making a server or answering a scrape.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIServer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("mpmetrics")

Started = tuple[WSGIServer, threading.Thread]

_TRY_SECONDS = 1.0  # between two looks at a port that a sibling has
_FORK_WAITS = 1.0  # seconds, for a scrape that takes longer the fork doesn't wait


def start(make: Callable[[], Started], where: str) -> tuple[WSGIServer | None, threading.Thread]:
    """
    The server that `make` makes and its thread; None while somebody else has the port.

    Then the thread is one that looks again each second. Raises OSError for any other reason.
    """
    try:
        return _make(make)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        log.info("%s is taken: this process serves there when it is free", where)
    waiting = threading.Thread(target=_take_over, args=(make,), daemon=True)
    waiting.start()
    return None, waiting


def _make(make: Callable[[], Started]) -> Started:
    with _within:
        server, thread = make()
        _servers.add(server)
        app = server.get_app()
        assert app is not None
        server.set_app(_noted(app))
    return server, thread


def _take_over(make: Callable[[], Started]) -> None:
    while True:
        time.sleep(_TRY_SECONDS)
        with suppress(OSError):
            _make(make)
            return


def _noted(app: WSGIApplication) -> WSGIApplication:
    def noted_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with _within:
            return app(environ, start_response)

    return noted_app


# ---- forks ---------------------------------------------------------------------------------------


class _Threads:
    """The threads within a `with` of this; `keep_out` waits for them and lets nobody in."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # over an RLock: a signal handler may fork, too
        self._threads: list[int] = []
        self._keepers: list[int] = []

    def __enter__(self) -> None:
        with self._changed:
            self._threads.append(threading.get_ident())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._threads.remove(threading.get_ident())
            self._changed.notify_all()

    def keep_out(self) -> None:
        me = threading.get_ident()  # a collector may itself start a process
        self._changed.acquire()
        self._changed.wait_for(lambda: all(each == me for each in self._threads), _FORK_WAITS)
        self._keepers.append(me)

    def let_in(self) -> None:
        # Nobody was kept out of a fork in C that runs only some of Python's handlers.
        if self._keepers[-1:] == [threading.get_ident()]:
            self._keepers.pop()
            self._changed.release()


_within = _Threads()
_servers: weakref.WeakSet[WSGIServer] = weakref.WeakSet()


def _begin_child() -> None:
    """Its threads that serve are gone; its copies of their sockets would keep the ports."""
    global _within
    _within.let_in()  # who forked may be within, and leave it here, too
    _within = _Threads()
    for server in _servers:
        server.socket.close()
    _servers.clear()


# By name: a child has another `_within`.
os.register_at_fork(
    before=lambda: _within.keep_out(),
    after_in_parent=lambda: _within.let_in(),
    after_in_child=_begin_child,
)

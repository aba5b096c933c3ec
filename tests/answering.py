"""Which process answers a request: told by the kernel, so that the application needn't say it.

A worker that has accepted a connection has a socket open; the kernel tells its number to who asks
with the two ports.
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

from examples.rig.processes import Child, wait_until
from tests.servers.driver import PATIENCE, Served

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_ESTABLISHED, _ANY = 1, 0xFFFFFFFF
_LOOPBACK = socket.inet_aton("127.0.0.1")
_STATE, _INODE = 16 + 1, 16 + 4 + 48 + 16  # where they stand in an answer


class Watched(Served):
    """A server whose application knows nothing of the test."""

    work_path = "/order/tea"

    def __init__(self, child: Child, port: int, folder: Path) -> None:
        super().__init__(child, port, folder)
        self._workers: set[int] = set()  # that have accepted something

    def get(self, path: str, timeout: float = 10.0) -> tuple[int, str]:
        """The worker that answers, and what it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.connect()
            worker = self._accepting(connection.sock.getsockname()[1])
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            text = response.read().decode()
            assert 200 == response.status, f"{response.status} for {path}: {text}"
            return worker, text
        finally:
            connection.close()

    def _accepting(self, from_port: int) -> int:
        """The process that accepts the connection from this port, once one does."""

        def holder() -> int | None:
            link = _accepted(self.port, from_port)
            if link is None:
                return None
            known = (pid for pid in self._workers.copy() if _has(pid, link))
            anybody = (pid for pid in _session(self.child.pid) if _has(pid, link))
            return next(known, None) or next(anybody, None)

        worker = wait_until(holder, PATIENCE, every=0.01)
        assert worker is not None, f"nobody accepts:\n{self.child.last_words()}"
        self._workers.add(worker)
        return worker


def _accepted(to_port: int, from_port: int) -> str | None:
    """The server's end as a link names it; None before it is accepted.

    By sock_diag(7), which looks one connection up: /proc/net/tcp walks the table of all."""
    ends = struct.pack("!HH4s12x4s12x", to_port, from_port, _LOOPBACK, _LOOPBACK)
    request = struct.pack("BBxxI", socket.AF_INET, socket.IPPROTO_TCP, _ANY)
    request += ends + struct.pack("III", 0, _ANY, _ANY)  # of any interface, of any cookie
    header = struct.pack("IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(PATIENCE)
        kernel.send(header + request)
        answer = kernel.recv(4096)
    if struct.unpack_from("H", answer, 4)[0] != _SOCK_DIAG_BY_FAMILY:
        return None  # an error: there is no such connection yet
    inode = struct.unpack_from("I", answer, _INODE)[0]
    return f"socket:[{inode}]" if inode and answer[_STATE] == _ESTABLISHED else None


def _has(pid: int, link: str) -> bool:
    """Has this process that open?"""
    with suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(f"/proc/{pid}/fd/{fd}") == link:
                    return True
    return False


def _session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.getsid(int(name)) == leader:
                found.append(int(name))
    return found

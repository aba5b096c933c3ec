"""Programs that tests start: fresh interpreters, each with a bound, each ended by its own id.

A test that needs mpmetrics names a module-level function to `run`; the function, and whatever
processes it starts, do the work in an interpreter that nothing else has touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

ROOT = Path(__file__).resolve().parent.parent
started: set[str] = set()  # the names of all programs
LIMIT = 60.0  # seconds, for everything that could only last that long if it hangs

_CALL = """
import importlib, json, sys
module, name, arguments, answer = sys.argv[1:]
function = getattr(importlib.import_module(module), name)
result = function(*json.loads(arguments))
with open(answer, "w") as file:
    json.dump(result, file)
"""


def environment(store: str | os.PathLike[str] | None = None, **more: str) -> dict[str, str]:
    """This process's environment without what would lead to a store, and with this one."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MPMETRICS_", "PROMETHEUS_", "GUNICORN_"))
    }
    clean["PYTHONPATH"] = str(ROOT)
    if store is not None:
        clean["MPMETRICS_STORE"] = os.fspath(store)
    return clean | more


def name_of(pid: int) -> str:
    """PID-START-NAMESPACE, with which the files begin that a process makes up: pids come again."""
    start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    namespace = os.readlink("/proc/self/ns/pid").removeprefix("pid:[").removesuffix("]")
    return f"{pid}-{start}-{namespace}"


def pid_namespace() -> list[str]:
    """What to put before a command to give it pids of its own; skips where that isn't allowed."""
    return _unshare("--pid", "--fork", "--mount-proc", "--kill-child")


def mounts(script: str) -> list[str]:
    """What to put before a command that is to see these mounts alone; skips as above."""
    return _unshare("--mount", "sh", "-c", f'{script} && exec "$@"', "sh")


def _unshare(*words: str) -> list[str]:
    mine = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    prefix = ["unshare", *mine, *words]
    try:
        subprocess.run([*prefix, "true"], capture_output=True, text=True, timeout=LIMIT, check=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare (Debian: util-linux)")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"not permitted here: {shlex.join(prefix)}: {error.stderr.strip()}")
    return prefix


def need_root() -> None:
    """Skips where this isn't root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")


def becoming(user: int, group: int | None = None) -> str:
    """Lines of Python after which a program is that user, with that group besides.

    Imports first what the command line takes, since this Python may lie where only root can read.
    """
    groups = [] if group is None else [group]
    return (
        "import encodings.idna, os\n"
        "import mpmetrics.__main__\n"
        "mpmetrics.__main__.parser().format_help()\n"
        f"os.setgroups({groups}); os.setgid({user}); os.setuid({user})\n"
    )


@contextlib.contextmanager
def readable_folder() -> Iterator[Path]:
    """A folder that every user may look into: pytest's own belongs to one."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


class Program:
    """A running program in a session of its own; `with` ends it and all that it has started."""

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        env: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        self._process = subprocess.Popen(
            [*prefix, sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(env),
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self.pid = self._process.pid
        started.add(name_of(self.pid))

    def read_line(self) -> str:
        """What it says next; at its end, or if it writes nothing, an AssertionError."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()  # pytest's own timeout is the bound
        assert line, self.finish(check=False)
        return line.rstrip("\n")

    def say(self, line: str) -> None:
        """Gives it one line to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def finish(self, *, check: bool = True, limit: float = LIMIT) -> str:
        """Closes its input, waits for its end, and gives the rest of what it wrote."""
        try:
            out, errors = self._process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self.kill()
            out, errors = self._process.communicate(timeout=LIMIT)
            raise AssertionError(f"hangs after {limit} s:\n{out}\n{errors}") from None
        text = out + errors
        if check:
            assert self._process.returncode == 0, f"status {self._process.returncode}:\n{text}"
        return text

    @property
    def status(self) -> int | None:
        """How it ended, if it was waited for: its status, or -n for signal n."""
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL to all of its session's processes that are still in its group."""
        if self._process.returncode is None:  # unreaped, so the group is still ours
            os.killpg(self.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._process.communicate(timeout=LIMIT)


def run(
    function: str,
    *args: Any,
    store: str | os.PathLike[str] | None = None,
    limit: float = LIMIT,
    **more: str,
) -> Any:
    """
    What `module:function` returns in a fresh interpreter; arguments and answer go as JSON.

    By name, since whoever imports such a module declares metrics: not in pytest's own process. It
    may take `limit` seconds; `more` are variables of its environment.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        call = [*function.split(":"), json.dumps(args), str(answer)]
        with Program(["-c", _CALL, *call], environment(store, **more)) as program:
            said = program.finish(limit=limit)
        assert answer.exists(), f"{function} has no answer:\n{said}"
        return json.loads(answer.read_text())


def run_script(path: Path, *args: str, env: Mapping[str, str]) -> str:
    """What a script writes, stdout first; it must end well."""
    with Program([path, *args], env) as program:
        return program.finish()

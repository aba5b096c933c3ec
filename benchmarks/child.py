"""One measurement in one fresh interpreter, with its files in a temporary folder.

The parent writes `request.json`, runs `python -m benchmarks.child FOLDER` and reads `result.json`.
Nothing goes through pipes: a worker that outlives its parent would hold them open.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import contenders

TIMEOUT = 300.0  # seconds for one child; the slowest takes about 15


class MeasurementFailed(Exception):
    """A child didn't give a result: its message ends with what the child printed."""


def base() -> Path:
    """Where temporary folders go: memory if there is some, as both libraries advise."""
    shm = Path("/dev/shm")
    return shm if os.access(shm, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def run(
    contender: contenders.Contender,
    concern: str,
    request: Mapping[str, Any],
    *,
    prefix: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Any:
    """The answer of `benchmarks.<concern>.measure` in a fresh process.

    `prefix` is a command that runs the process, `variables` is added to its environment.
    """
    with tempfile.TemporaryDirectory(prefix="mpmetrics-bench-", dir=base()) as name:
        folder = Path(name)
        (folder / "store").mkdir()
        whole = {"contender": contenders.ALL.index(contender), "concern": concern, **request}
        (folder / "request.json").write_text(json.dumps(whole))
        command = [*prefix, sys.executable, "-m", "benchmarks.child", name]
        env = {**contender.environment(folder / "store"), **(variables or {})}
        _run(command, env, folder / "output", timeout)
        return json.loads((folder / "result.json").read_text())


def _run(command: Sequence[str], env: dict[str, str], output: Path, timeout: float) -> None:
    with output.open("wb") as stream:
        # A session of its own, so that what the child forked can be ended with it.
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            code: int | str = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = f"nothing within {timeout:.0f} s"
        finally:
            _end_session(process)
    if code != 0:
        said = output.read_text(errors="replace")[-2000:]
        raise MeasurementFailed(f"{' '.join(command)}: {code}\n{said}")


def _end_session(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):  # the usual case: all have left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main(folder: Path) -> None:
    """Run in the child: measure what the request asks for."""
    request = json.loads((folder / "request.json").read_text())
    library = contenders.ALL[request["contender"]].load()
    concern = importlib.import_module(f"benchmarks.{request['concern']}")
    result = concern.measure(library, request, folder / "store")
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

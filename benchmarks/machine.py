"""Where a table was made: without this it says nothing."""

import datetime
import importlib.metadata
import importlib.util
import os
import platform
import sysconfig
from pathlib import Path

from .child import base


def facts() -> dict[str, str]:
    """The machine, the interpreter and the libraries, in the order they are printed."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": _cpu(),
        "cores": f"{len(os.sched_getaffinity(0))} (load before the run: {load})",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.python_compiler()}",
        "Python build": _build(),
        "mpmetrics": _version("mpmetrics"),
        "prometheus_client": _version("prometheus_client"),
        "stores in": str(base()),
    }


def _cpu(path: Path = Path("/proc/cpuinfo")) -> str:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"  # arm64 names no model there


def _build() -> str:
    """How Python was configured: unoptimised, it flatters whatever is written in C."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    pgo = "optimised" if "--enable-optimizations" in options else "without --enable-optimizations"
    return f"{pgo}, {'with' if '--with-lto' in options else 'without'} LTO"


def _version(name: str) -> str:
    """The version that is installed, and where it is imported from (without importing it)."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return "not installed"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = "no version"
    return f"{version}, {spec.origin}"

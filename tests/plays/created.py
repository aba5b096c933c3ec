"""What test_created.py wants to see; each function runs in an interpreter of its own."""

from __future__ import annotations

import os

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def variable_goes(folder: str) -> list[bool]:
    """Is `_created` shown with the variable, without it, and switched off then?"""
    os.environ[VARIABLE] = folder
    import mpmetrics

    mpmetrics.Counter("x", "h")
    pages = [mpmetrics.generate_latest()]
    del os.environ[VARIABLE]
    pages.append(mpmetrics.generate_latest())
    mpmetrics.disable_created_metrics()
    pages.append(mpmetrics.generate_latest())
    return [b"x_created" in page for page in pages]


def variable_comes(folder: str) -> list[bool]:
    """The same switched off before us, with the variable then, and switched on."""
    import prometheus_client

    prometheus_client.disable_created_metrics()
    import mpmetrics

    mpmetrics.Counter("x", "h")
    pages = [mpmetrics.generate_latest()]
    os.environ[VARIABLE] = folder
    pages.append(mpmetrics.generate_latest())
    prometheus_client.enable_created_metrics()
    pages.append(mpmetrics.generate_latest())
    return [b"x_created" in page for page in pages]

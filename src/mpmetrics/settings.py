"""Environment variables that are on or off."""

from __future__ import annotations

import os


def is_on(variable: str) -> bool:
    """Is it set to 1, true, yes or on?"""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")

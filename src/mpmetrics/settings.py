"""Environment variables that are on or off, or numbers; what makes no sense is logged once."""

from __future__ import annotations

import functools
import logging
import os

log = logging.getLogger("mpmetrics")

_ON = ("1", "true", "yes", "on")
_OFF = ("", "0", "false", "no", "off")
_MOST = (1 << 64) - 1


def is_on(variable: str) -> bool:
    """Is it set to 1, true, yes or on?"""
    text = os.environ.get(variable, "")
    if text.lower() not in _ON + _OFF:
        _say_once(f"{variable}={text} is neither on nor off: off it is")
    return text.lower() in _ON


def number(variable: str, default: int) -> int:
    """The number from 0 up that it is set to."""
    text = os.environ.get(variable, "")
    try:
        value = int(text) if text else default
    except ValueError:
        value = -1
    if 0 <= value <= _MOST:
        return value
    _say_once(f"{variable}={text} is no number from 0 up: {default} it is")
    return default


@functools.cache
def _say_once(line: str) -> None:
    log.error("%s", line)

"""What test_compatibility.py asks of the generator, in an interpreter of its own."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from tests.programs import ROOT


def _generator() -> ModuleType:
    path = ROOT / "docs" / "make_compatibility.py"
    spec = importlib.util.spec_from_file_location("make_compatibility", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def versions() -> list[str]:
    page = _generator()
    return [page.OLDEST, page.VERSION]


def theirs(name: str, amount: float = 1, *, late: bool = False) -> None: ...


def more(name: str, amount: float = 1, *, late: bool = False, path: str = "") -> None: ...


def by_position(name: str, amount: float = 1, /, *, late: bool = False) -> None: ...


def renamed(name: str, value: float = 1, *, late: bool = False) -> None: ...


def other_default(name: str, amount: float = 2, *, late: bool = False) -> None: ...


def fewer(name: str, amount: float = 1) -> None: ...


def needs_more(name: str, amount: float = 1, *, late: bool = False, path: str) -> None: ...


def anything(*args: Any, path: str = "", **kwargs: Any) -> None: ...


no_function = 7

OURS = {
    "theirs": theirs,
    "more": more,
    "anything": anything,
    "by_position": by_position,
    "renamed": renamed,
    "other_default": other_default,
    "fewer": fewer,
    "needs_more": needs_more,
    "no_function": no_function,
}


def accepted() -> dict[str, bool]:
    page = _generator()
    return {name: page.accepts(ours, theirs) for name, ours in OURS.items()}


def refused() -> dict[str, str]:
    page = _generator()
    errors = {}
    for what, name, ours in (
        ("a new function", "a_new_function", fewer),
        ("a new method", "Counter.a_new_method", None),
        ("not there", "generate_latest", None),
        ("called otherwise", "generate_latest", fewer),
    ):
        try:
            page.verdict(page.Row(name, theirs, ours))
        except LookupError as error:
            errors[what] = str(error)
    return errors


def not_needed() -> list[str]:
    page = _generator()
    assert page.check() == []
    useless = []
    for name in list(page.REMARKS):
        verdict = page.REMARKS.pop(name)
        if not page.check() and verdict[0] == page.SAME:
            useless.append(name)  # others say more than that it is prometheus_client's own
        page.REMARKS[name] = verdict
    page.REMARKS["no_such_name"] = page.REMARKS["generate_latest"]
    return [*useless, *([] if page.check() else ["no_such_name"])]

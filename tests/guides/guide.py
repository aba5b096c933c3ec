"""Configurations taken from a page of the documentation: a section's files, and how to start it.

A file is a block of Python; the last name in backticks that ends in `.py` before it is its own. The
command is the last line that is indented as code; those above prepare the folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.programs import ROOT

_BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Guide:
    """What a section says."""

    files: dict[str, str]
    before: list[str]
    command: str


def sections(page: Path) -> dict[str, str]:
    """Each section's text, by its heading, without the code of others."""
    parts = re.split(r"^## (.+)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def guide(section: str) -> Guide:
    """The section's files and its command."""
    files = {}
    for block in _BLOCK.finditer(section):
        names = re.findall(r"`(\w+(?:\.\w+)*\.py)`", section[: block.start()])
        files[names[-1]] = block[1]
    commands = re.findall(r"^    (\S.*)$", _BLOCK.sub("", section), re.MULTILINE)
    return Guide(files, commands[:-1], commands[-1])


FRAMEWORKS = sections(ROOT / "docs" / "frameworks.md")
MIGRATING = sections(ROOT / "docs" / "migrating.md")

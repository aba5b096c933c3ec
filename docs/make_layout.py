"""Draws the structs of native/core.h, with the compiler's own sizes, into docs/memory-layout.md.

    python docs/make_layout.py            # rewrites what stands between the markers
    python docs/make_layout.py --check    # exits with 1 if that would change something

A C program made from the header's own fields prints each offset and size, so no number in the page
is written by hand. tests/test_docs.py runs the check.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from os import environ
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "memory-layout.md"
CORE = ROOT / "native" / "core.h"
STORE = ROOT / "native" / "store.c"
WIDTH = 100

STRUCTS = (
    "mpm_header",
    "mpm_journal",
    "mpm_table",
    "mpm_root",
    "mpm_family",
    "mpm_shape",
    "mpm_help",
    "mpm_series",
    "mpm_label_text",
    "mpm_shard",
)
TABLES = {  # what each kind of table is used for: the kind's own name says too little
    "MPM_FAMILIES": "root.family: families",
    "MPM_RECORDS": "root.record: series",
    "MPM_OFFSETS": "root.shard, root.word_size, family.slot, shard.chunks",
    "MPM_DECLARED": "shard.declared: births of families",
    "MPM_BUCKETS": "root.bucket: the hash index",
}
CELLS = (  # kind, words in C for 15 upper bounds, what the words are
    ("counter", "MPM_COUNTER_WORDS", "birth | value"),
    ("gauge, Enum", "MPM_COUNTER_WORDS", "birth | value or state              (shared shard only)"),
    ("summary", "MPM_SUMMARY_WORDS", "birth | n | count, sum | count, sum"),
    (
        "gauge with a mode",
        "MPM_MODE_WORDS",
        "birth | n | lease, value, time, left | lease, value, time, left",
    ),
    (
        "histogram",
        "MPM_HISTOGRAM_WORDS(15)",
        "birth | hint | sum 0 | sum 1 | 15 buckets  (prometheus_client's default buckets)",
    ),
    ("Info", "0", "it is all text"),
)
LIMITS = (
    ("MPM_LAYOUT", "number of this layout"),
    ("MPM_LINE", "bytes of a line: unit and alignment of blocks"),
    ("MPM_STEP", "bytes: the file grows by multiples of this"),
    ("MPM_SPARE", "bytes kept back for a new process's shard"),
    ("MPM_CLASSES", "sizes that a block may have"),
    ("MPM_TABLE_CHUNKS", "chunks that a table may have, each twice the one before"),
    ("MPM_FIRST_CHUNK", "words of the first chunk of the word space"),
    ("MPM_CHUNK", "words of every other one, unless one cell needs more"),
    ("MPM_TEXT_LIMIT", "bytes of one series' label text, at the most"),
    ("MPM_EXEMPLAR_TEXT", "bytes of an exemplar's labels, at the most"),
    ("MPM_PASSES", "passes of a reader over a moving cell before it gives up"),
)


@dataclass(frozen=True)
class Field:
    """One field of a struct, as the header declares it."""

    type: str
    name: str
    comment: str


# ---- reading the header --------------------------------------------------------------------------


def fields_of(struct: str, header: str) -> list[Field]:
    """The fields of a `typedef struct {...} NAME;`, each with its comment."""
    found = re.search(r"typedef struct \{((?:(?!\n\}).)*)\n\} " + struct + ";", header, re.DOTALL)
    if found is None:
        raise LookupError(f"{CORE}: no struct {struct}")
    fields = re.findall(
        r"^ +(?!/\*)(?:struct )?(\w+) (\w+)(?:\[[^]]*\])?;[ ]*(?:/\*(.*?)\*/)?",
        found[1],
        re.MULTILINE | re.DOTALL,
    )
    return [Field(type_, name, " ".join(text.split())) for type_, name, text in fields]


def table_kinds() -> dict[str, tuple[str, str]]:
    """Entry size and first chunk of each table kind, as C writes them."""
    found = re.findall(
        r"const mpm_table_kind (\w+) = \{(.*), (\d+)\};", STORE.read_text(encoding="utf-8")
    )
    return {name: (entry, first) for name, entry, first in found}


# ---- asking the compiler -------------------------------------------------------------------------


def compiler() -> list[str] | None:
    """The C compiler as a command, None if there is none."""
    command = shlex.split(environ.get("CC", "cc"))
    return command if command and shutil.which(command[0]) else None


def measure(structs: dict[str, list[Field]]) -> dict[str, int]:
    """Every number of the page, by the C expression that it is the value of."""
    wanted = [expression for name, fields in structs.items() for expression in _of(name, fields)]
    wanted += [words for _, words, _ in CELLS] + [name for name, _ in LIMITS]
    wanted += [entry for entry, _ in table_kinds().values()]
    lines = [f'    printf("%llu\\n", (unsigned long long)({each}));' for each in wanted]
    program = "\n".join(
        ["#include <stdio.h>", '#include "core.h"', "int main(void)", "{", *lines, "}", ""]
    )
    command = compiler()
    if command is None:
        raise LookupError("no C compiler: set CC, or install one")
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "layout.c"), Path(folder, "layout")
        source.write_text(program, encoding="utf-8")
        include = ["-std=c11", "-D_GNU_SOURCE", "-I", str(CORE.parent)]
        subprocess.run([*command, *include, "-o", str(binary), str(source)], check=True)
        printed = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
    return dict(zip(wanted, map(int, printed.split()), strict=True))


def _of(struct: str, fields: list[Field]) -> Iterator[str]:
    yield f"sizeof({struct})"
    for field in fields:
        yield f"offsetof({struct}, {field.name})"
        yield f"sizeof((({struct} *)0)->{field.name})"


# ---- drawing -------------------------------------------------------------------------------------


def draw_struct(name: str, fields: list[Field], numbers: dict[str, int]) -> list[str]:
    size = numbers[f"sizeof({name})"]
    lines = [f"{name}: {size:,} bytes", "", "offset   size  field"]
    for field in fields:
        offset = numbers[f"offsetof({name}, {field.name})"]
        bytes_ = numbers[f"sizeof((({name} *)0)->{field.name})"]
        head = f"{offset:6,} {bytes_:6,}  {field.name:<13}"
        comment = wrap(field.comment, WIDTH - len(head)) or [""]
        lines.append((head + comment[0]).rstrip())
        lines += [" " * len(head) + more for more in comment[1:]]
    return lines


def draw_tables(numbers: dict[str, int]) -> list[str]:
    lines = ["entry (bytes)  entries of chunk 0, 1, 2 ...  what"]
    for name, what in TABLES.items():
        entry, first = table_kinds()[name]
        counts = ", ".join(str(int(first) << chunk) for chunk in range(3)) + " ..."
        lines.append(f"{numbers[entry]:13}  {counts:<29}  {what}")
    return lines


def draw_cells(numbers: dict[str, int]) -> list[str]:
    lines = ["words  bytes  kind               words of the cell"]
    for kind, words, drawing in CELLS:
        lines.append(f"{numbers[words]:5} {8 * numbers[words]:6}  {kind:<17}  {drawing}")
    return lines


def draw_limits(numbers: dict[str, int]) -> list[str]:
    return [f"{name:<17} {numbers[name]:>12,}  {what}" for name, what in LIMITS]


def draw_start(numbers: dict[str, int]) -> list[str]:
    """The file as every process maps it."""
    line = numbers["MPM_LINE"]
    header = numbers["sizeof(mpm_header)"]
    first = -(-header // line) * line
    mark = f"{first:,}"
    return [
        f"0        {mark:<18}top                  size          reserve",
        "+--------+-----------------+--------------------+- - - - - - - +",
        "| header | blocks          | never given out    | not there    |",
        "+--------+-----------------+--------------------+- - - - - - - +",
        f"  {header:,} bytes, so the first block begins at {mark}",
    ]


def drawings() -> dict[str, list[str]]:
    """What stands between the markers of the page, by name."""
    header = CORE.read_text(encoding="utf-8")
    structs = {name: fields_of(name, header) for name in STRUCTS}
    numbers = measure(structs)
    drawn = {name: draw_struct(name, fields, numbers) for name, fields in structs.items()}
    return drawn | {
        "file": draw_start(numbers),
        "tables": draw_tables(numbers),
        "cells": draw_cells(numbers),
        "limits": draw_limits(numbers),
    }


def filled(page: str) -> str:
    """The page with every drawing made anew. Raises LookupError for one without a place."""
    for name, lines in drawings().items():
        body = "\n".join([f"<!-- drawn: {name} -->", "```text", *lines, "```", "<!-- end -->"])
        pattern = rf"<!-- drawn: {name} -->\n.*?<!-- end -->"
        page, places = re.subn(pattern, lambda _, body=body: body, page, flags=re.DOTALL)  # type: ignore[misc]
        if places != 1:
            raise LookupError(f"{PAGE}: {places} places for the drawing {name}, expected 1")
    return page


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    drawn = filled(page)
    if drawn == page:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{PAGE} is not what the header says; run: python docs/make_layout.py")
        return 1
    PAGE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

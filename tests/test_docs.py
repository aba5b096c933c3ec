"""The documentation is true: examples run, links and names exist, the drawings are current."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md"))
    if not path.relative_to(ROOT).parts[0].startswith((".", "build"))
)

# Whose blocks are files that need a framework or a server: tests/guides runs them, all of them.
GUIDES = {"docs/frameworks.md", "docs/migrating.md"}

# A block of Python, and, if one follows at once, the text that it prints.
SNIPPET = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TEST = re.compile(r"`((?:native/)?tests/[\w/]+\.(?:py|c))(?:::(\w+))?`")
MAKE = re.compile(r"(?:`|^ {4})make((?: [a-z][a-z0-9-]*)+)", re.MULTILINE)
VARIABLE = re.compile(r"\bMPMETRICS_[A-Z_]+\b")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


def snippets() -> list[object]:
    return [
        pytest.param(code, printed, id=f"{names(page)}-{number}")
        for page in PAGES
        if names(page) not in GUIDES
        for number, (code, printed) in enumerate(SNIPPET.findall(text_of(page)))
    ]


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("code", "printed"), snippets())
def test_snippet_runs(code: str, printed: str, tmp_path: Path) -> None:
    """Each block of Python runs in a fresh interpreter, and prints what the page says."""
    program = tmp_path / "snippet.py"
    program.write_text(code, encoding="utf-8")
    foreign = ("MPMETRICS_", "PROMETHEUS_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}

    result = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 0 == result.returncode, result.stderr
    if printed:
        assert printed == result.stdout


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_resolve(page: Path) -> None:
    """Each relative link leads to a file of the repository."""
    links = [link for link in LINK.findall(FENCED.sub("", text_of(page))) if "://" not in link]
    there = [unquote(link.partition("#")[0]) for link in links if not link.startswith("#")]

    assert [] == [link for link in there if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_named_tests_exist(page: Path) -> None:
    """Each test that a page names exists: the file, and the function in it."""
    missing = []
    for path, function in TEST.findall(text_of(page)):
        source = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else None
        defined = rf"^(?:async )?(?:def )?{function}\("
        if source is None or (function and not re.search(defined, source, re.MULTILINE)):
            missing.append(f"{path}::{function}")

    assert [] == missing


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_named_targets_exist(page: Path) -> None:
    """Each `make TARGET` that a page names is a target of the Makefile."""
    makefile = text_of(ROOT / "Makefile")
    named = {target for line in MAKE.findall(text_of(page)) for target in line.split()}

    assert set() == {
        target
        for target in named
        if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_named_variables_exist(page: Path) -> None:
    """Each environment variable of ours that a page names is read by the package."""
    sources = "".join(text_of(path) for path in (ROOT / "src" / "mpmetrics").glob("*.py"))

    named = {variable for variable in VARIABLE.findall(text_of(page)) if variable[-1] != "_"}

    assert set() == {variable for variable in named if f'"{variable}"' not in sources}


def test_memory_layout_is_current() -> None:
    """docs/memory-layout.md draws the structs that the compiler makes of native/core.h."""
    layout = script("make_layout")
    if layout.compiler() is None:
        pytest.skip("no C compiler")
    page = text_of(layout.PAGE)

    assert page == layout.filled(page), "run: python docs/make_layout.py"


def test_memory_layout_has_every_field() -> None:
    """A field that the generator doesn't see would be a hole in the drawing."""
    layout = script("make_layout")
    if layout.compiler() is None:
        pytest.skip("no C compiler")
    header = text_of(layout.CORE)
    structs = {name: layout.fields_of(name, header) for name in layout.STRUCTS}
    numbers = layout.measure(structs)

    for name, fields in structs.items():
        end = 0
        for field in fields:
            assert end == numbers[f"offsetof({name}, {field.name})"], f"{name}.{field.name}"
            end += numbers[f"sizeof((({name} *)0)->{field.name})"]
        assert end == numbers[f"sizeof({name})"], name


def test_table_of_runs_is_kept() -> None:
    """Written with what it says, docs/guarantees.md stays; a new result takes its own row alone."""
    proof = script("make_proof")
    page = text_of(proof.PAGE)
    rows = proof.rows(page)
    new = ("what", "seen", "`make test`")

    assert {"storm", "scrape", "soak", "points", "mutants", "models"} <= rows.keys()
    assert page == proof.filled(page, {})
    assert rows | {"soak": new, "other": new} == proof.rows(
        proof.filled(page, {"other": new, "soak": new})
    )


def test_what_is_not_there_is_not_there() -> None:
    """The README names nothing as missing that has been added since."""
    _, _, missing = text_of(ROOT / "README.md").partition("Not there yet:")
    absent = re.findall(r"`mpmetrics\.(\w+)`", missing)
    package = importlib.import_module("mpmetrics")

    assert [] == [
        name
        for name in absent
        if hasattr(package, name) or importlib.util.find_spec(f"mpmetrics.{name}") is not None
    ]


def test_pages_are_found() -> None:
    """The tests above look at something."""
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {names(page) for page in PAGES}
    assert snippets()

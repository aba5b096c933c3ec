"""docs/compatibility.md: every name of prometheus_client has a verdict, and the page is current."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from tests.programs import ROOT, environment, run

GENERATOR = ROOT / "docs" / "make_compatibility.py"
OLDEST, NEWEST = "0.22.0", "0.26.0"


def generate(path: str = "") -> subprocess.CompletedProcess[str]:
    """What the generator says of prometheus_client in the environment, or in that folder."""
    env = environment(PYTHONPATH=path) if path else environment()
    command = [sys.executable, str(GENERATOR), "--check"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_page_is_current():
    """The page is what both packages say today, and every name has a verdict that is so."""
    checked = generate()

    assert (0, "") == (checked.returncode, checked.stderr)
    if version("prometheus_client") != NEWEST:
        pytest.skip(f"the page itself is made with prometheus_client {NEWEST}")


def test_generator_names_the_supported_versions():
    """The page is made with the newest version; the oldest is what pyproject.toml asks for."""
    assert [OLDEST, NEWEST] == run("tests.plays.compatibility:versions")
    oldest = OLDEST.removesuffix(".0")
    assert f'"prometheus_client>={oldest}"' in (ROOT / "pyproject.toml").read_text()


# ---- the generator finds what is wrong -----------------------------------------------------------


def test_signatures_are_compared():
    """A name may be called the same, or better, only if ours takes every call that theirs takes."""
    assert {
        "theirs": True,
        "more": True,
        "anything": True,
        "by_position": False,
        "renamed": False,
        "other_default": False,
        "fewer": False,
        "needs_more": False,
        "no_function": False,
    } == run("tests.plays.compatibility:accepted")


def test_no_name_without_a_verdict():
    """The generator fails for a name that nobody has judged, and for a verdict that isn't so."""
    errors = run("tests.plays.compatibility:refused")

    assert "has no verdict" in errors["a new function"]
    assert "has no verdict" in errors["a new method"]
    assert "but we have None" in errors["not there"]
    assert "has the signature (name, amount=1)" in errors["called otherwise"]


@pytest.mark.skipif(version("prometheus_client") != NEWEST, reason="an older one has fewer names")
def test_every_verdict_is_needed():
    """Without any one of its verdicts, or with one too many, the generator fails."""
    assert [] == run("tests.plays.compatibility:not_needed")


# ---- the oldest supported version ----------------------------------------------------------------


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder that PYTHONPATH may name, with the oldest prometheus_client in it."""
    folder = tmp_path_factory.mktemp("oldest")
    install = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
    try:
        subprocess.run(
            [sys.executable, *install, "--target", str(folder), f"prometheus_client=={OLDEST}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except subprocess.SubprocessError as error:
        why = str(getattr(error, "stderr", None) or error)[-300:]
        pytest.skip(f"pip can't have prometheus_client {OLDEST}: {why}")
    return os.pathsep.join([str(folder), str(ROOT)])


@pytest.mark.slow
def test_oldest_has_no_other_names(oldest):
    """The verdicts hold with the oldest supported prometheus_client, too."""
    checked = generate(oldest)

    assert (0, "") == (checked.returncode, checked.stderr)
    assert f"the page is made with prometheus_client {NEWEST}" in checked.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_oldest_version_is_used(oldest):
    """What is run against the oldest version really is."""
    assert OLDEST == run("tests.plays.basics:version_of_theirs", PYTHONPATH=oldest)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("kind", ["Counter", "Gauge", "Summary", "Histogram", "Info", "Enum"])
def test_oldest_across_processes(oldest, kind):
    """With the oldest version every kind of metric counts for all processes, and can be removed."""
    from tests.test_removal import ONE

    seen = run("tests.plays.basics:counted", "spawn", kind, PYTHONPATH=oldest)

    assert [ONE[kind], {}] == seen


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_oldest_exemplars(oldest):
    """With the oldest version the OpenMetrics page of one process is that version's own."""
    for theirs_page, ours in run("tests.plays.exemplars:as_theirs", PYTHONPATH=oldest):
        assert theirs_page == ours


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_oldest_registries(oldest):
    """With the oldest version registries are served and filtered one by one, in two workers."""
    outcome = run("tests.plays.registries:served", "spawn", 2, PYTHONPATH=oldest)

    assert {"late", "own_named_count"} == set(outcome["filtered"]["named own_named_count late"])


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_oldest_pushes(oldest):
    """With the oldest version a batch job's registry is pushed, and leaves nothing in the store."""
    outcome = run("tests.plays.registries:batch", 20, 40, PYTHONPATH=oldest)

    few, many = outcome["measured"]
    assert few["used_bytes"] == many["used_bytes"]
    assert "last 39.0" in outcome["body"]


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_oldest_answers_every_accept_header(oldest):
    """With the oldest version, which has no escaping to choose, every scraper gets its page.

    Prometheus 3 asks for an escaping in each scrape."""
    statuses = run("tests.plays.basics:statuses", PYTHONPATH=oldest)

    assert dict.fromkeys(statuses, "200 OK") == statuses


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_oldest_is_patched(oldest, tmp_path):
    """With the oldest version patch() replaces every name, and its folder for files stays empty."""
    seen = run("tests.plays.patching:replaced", True, PYTHONPATH=oldest)
    used = run("tests.plays.patching:use_everything", "before", str(tmp_path), PYTHONPATH=oldest)

    assert [[], []] == [seen["not ours"], seen["left"]]
    assert [1, []] == [len(used["pages"]), used["files"]]
    assert "build_info" in used["pages"][0]

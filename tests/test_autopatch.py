"""`mpmetrics run`'s import hook: programs that know only prometheus_client, in any Python below."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import prometheus_client
import pytest
from tests.programs import LIMIT, ROOT, environment
from tests.test_run import RUN

import mpmetrics

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

HOOK = Path(mpmetrics.__file__).parent / "autopatch" / "sitecustomize.py"
# What a program prints of itself: whose class Counter is.
WHOSE = "import prometheus_client; print(prometheus_client.Counter.__module__.split('.')[0])\n"
OURS, THEIRS = "mpmetrics\n", "prometheus_client\n"
# The Python that ours was made of, which has no package of ours.
OTHER = getattr(sys, "_base_executable", sys.executable)


def output(
    *words: str | os.PathLike[str],
    options: Sequence[str] = (),
    python: str = sys.executable,
    folder: Path | None = None,
    **variables: str,
) -> str:
    """What a program of that Python writes under `mpmetrics run`, stdout first."""
    ended = subprocess.run(
        # -I: what is put into PYTHONPATH is the program's affair, and not the runner's.
        [sys.executable, "-I", *RUN, *options, "--", python, *words],
        env=environment() | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        cwd=folder,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


# ---- when it is patched --------------------------------------------------------------------------

BEFORE = """\
import sys
def ours():
    names = ("prometheus_client", "mpmetrics")
    return [name for name in sys.modules if name.split(".")[0] in names]
import json, threading, importlib, importlib.util
print(ours())
"""
IMPORTS = {
    "package": "import prometheus_client",
    "submodule": "import prometheus_client.core",
    "from submodule": "from prometheus_client.multiprocess import MultiProcessCollector",
    "name": "from prometheus_client import Counter",
    "importlib": "importlib.import_module('prometheus_client.exposition')",
    "looked for first": "importlib.util.find_spec('prometheus_client')\nimport prometheus_client",
    "submodule looked for": "importlib.util.find_spec('prometheus_client.core')",
    "source looked at": (
        "spec = importlib.util.find_spec('prometheus_client')\n"
        "assert 'REGISTRY' in spec.loader.get_source('prometheus_client')\n"
        "import prometheus_client"
    ),
    "mpmetrics": "import mpmetrics",
    "part of mpmetrics": "from mpmetrics.exposition import generate_latest",
    # Only the package: while one thread imports that and another one a part of it, the import
    # fails without us, too.
    "threads": (
        "threads = [threading.Thread(target=__import__, args=('prometheus_client',))"
        " for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()"
    ),
}


@pytest.mark.parametrize("how", IMPORTS)
def test_imported(how):
    """Nothing is imported before the program does it; then, however it does, the classes are ours.

    And the hook is gone."""
    code = (
        f"{BEFORE}{IMPORTS[how]}\n{WHOSE}"
        "from prometheus_client import core, metrics, multiprocess\n"
        "print({core.Counter, metrics.Counter, prometheus_client.Counter} == {core.Counter})\n"
        "print(type(prometheus_client.__loader__).__name__, prometheus_client.__spec__.loader\n"
        "      is prometheus_client.__loader__, [type(f).__module__ for f in sys.meta_path].count("
        "'sitecustomize'))\n"
    )

    assert f"[]\n{OURS}True\nSourceFileLoader True 0\n" == output("-c", code)


def test_only_looked_for():
    """Who asks only whether prometheus_client is there imports nothing of it, nor of ours."""
    code = BEFORE + "print(importlib.util.find_spec('prometheus_client').name, ours())\n"

    assert "[]\nprometheus_client []\n" == output("-c", code)


@pytest.mark.parametrize("how", ["script", "module", "package", "folder", "runpy", "stdin"])
def test_started(how, tmp_path):
    """So it is however the program is started."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    for path in (tmp_path / "one.py", package / "__main__.py"):
        path.write_text(WHOSE)
    words = {
        "script": [str(tmp_path / "one.py")],
        "module": ["-m", "one"],
        "package": ["-m", "shop"],
        "folder": [str(package)],
        "runpy": ["-c", "import runpy; runpy.run_path('one.py')"],
        "stdin": [
            "-c",
            f"import subprocess, sys\n"
            f"subprocess.run([sys.executable, '-'], input={WHOSE!r}, text=True, check=True)",
        ],
    }[how]

    assert OURS == output(*words, folder=tmp_path)


# ---- other sitecustomizes ------------------------------------------------------------------------


def test_users_own(tmp_path):
    """The user's sitecustomize and usercustomize run, once each, before the program."""
    for name in ("sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text(f"print({name!r}, __name__, __file__)\n")
    code = "import sys; print(sys.modules['sitecustomize'].__file__)"
    # A virtual environment has no user's site; where it is made from has.
    said = output("-c", code, python=OTHER, PYTHONPATH=str(tmp_path), PYTHONUSERBASE=str(tmp_path))

    files = [tmp_path / f"{name}.py" for name in ("sitecustomize", "usercustomize")]
    assert [
        f"sitecustomize sitecustomize {files[0]}",
        f"usercustomize usercustomize {files[1]}",
        str(files[0]),
    ] == said.splitlines()


def test_users_own_imports_prometheus_client(tmp_path):
    """A sitecustomize that imports prometheus_client itself gets our classes, too."""
    (tmp_path / "sitecustomize.py").write_text(WHOSE)

    assert OURS * 2 == output("-c", WHOSE, PYTHONPATH=str(tmp_path))


def test_users_own_fails(tmp_path):
    """One that fails does what it does without us: Python says so, and the program goes on."""
    (tmp_path / "sitecustomize.py").write_text("1 / 0\n")
    said = output("-c", WHOSE, PYTHONPATH=str(tmp_path))

    assert said.startswith(OURS)
    assert "Error in sitecustomize" in said
    assert "ZeroDivisionError" in said


# As ddtrace-run's and others': it takes its own folder away, and runs what it hides.
TOOL = """\
import os, sys
here = os.path.dirname(os.path.abspath(__file__))
print("a tool's")
at = sys.path.index(here)
del sys.path[at]
mine = sys.modules.pop("sitecustomize")
try:
    import sitecustomize
except ImportError:
    sys.modules["sitecustomize"] = mine
finally:
    sys.path.insert(at, here)
"""


@pytest.mark.parametrize("outer", ["ours", "theirs"])
def test_another_tool(outer, tmp_path):
    """With another tool's that does the same, in front of ours or behind, each runs once."""
    tool, user = tmp_path / "tool", tmp_path / "user"
    for folder, code in ((tool, TOOL), (user, "print('the user\\'s')\n")):
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code)
    if outer == "ours":
        said = output("-c", WHOSE, PYTHONPATH=f"{tool}{os.pathsep}{user}")
    else:
        add = f'PYTHONPATH="{tool}:$PYTHONPATH" exec "$0" "$@"'
        said = output("-c", add, sys.executable, "-c", WHOSE, python="sh", PYTHONPATH=str(user))

    assert "a tool's\nthe user's\n" + OURS == said


# ---- other Pythons -------------------------------------------------------------------------------


@pytest.fixture
def without_us(tmp_path: Path) -> str:
    """A folder for PYTHONPATH that has prometheus_client, for a Python that lacks our package."""
    if (
        subprocess.run(
            [OTHER, "-c", "import mpmetrics"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        pytest.skip(f"{OTHER} has mpmetrics")
    theirs = Path(prometheus_client.__file__).parent
    shutil.copytree(theirs, tmp_path / theirs.name)
    return str(tmp_path)


def test_python_without_mpmetrics(without_us):
    """A Python below that has no mpmetrics goes on with prometheus_client's, and says so once."""
    said = output(
        "-c", WHOSE + "import prometheus_client.core\n", python=OTHER, PYTHONPATH=without_us
    )

    assert said.startswith(THEIRS)
    assert (
        f"{OTHER} counts with prometheus_client's own classes: No module named 'mpmetrics'" in said
    )
    assert 2 == len(said.splitlines())


def test_python_without_either():
    """One that has no prometheus_client either has nothing to say."""
    code = "try: import prometheus_client\nexcept ImportError as error: print(error.name)"
    command = [OTHER, "-c", "import prometheus_client"]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        pytest.skip(f"{OTHER} has prometheus_client")

    assert THEIRS == output("-c", code, python=OTHER)


def test_old_pythons_can_read_the_hook():
    """Every Python 3 below the run reads the file: it uses no grammar, nor names, of newer ones."""
    tree = ast.parse(HOOK.read_text(), feature_version=(3, 5))

    annotations = [
        argument.annotation
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for argument in (*node.args.args, ast.arg("return", node.returns))
        if argument.annotation is not None
    ]
    assert annotations
    assert [] == [ast.unparse(each) for each in annotations if isinstance(each, ast.BinOp)]
    assert [] == [
        node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.NamedExpr)
    ]


PATHS = [sysconfig.get_path("purelib"), str(ROOT)]
SITE = f"import site\nfor path in {PATHS!r}: site.addsitedir(path)\n"


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_python_that_ignores_the_environment(option):
    """-I, -E and -S leave the hook out; `import mpmetrics.auto` does what it does."""
    add = SITE if option == "-S" else ""

    assert THEIRS == output(option, "-c", add + WHOSE)
    assert OURS == output(option, "-c", add + "import mpmetrics.auto\n" + WHOSE)


def test_auto_without_a_run():
    """`import mpmetrics.auto` works by itself."""
    code = "import mpmetrics.auto\n" + WHOSE
    command = [sys.executable, "-c", code]

    assert OURS == subprocess.check_output(command, env=environment(), text=True, timeout=LIMIT)


# ---- what is below -------------------------------------------------------------------------------


def below(*command: str, **variables: str) -> str:
    """Code that starts a command in a changed environment, and prints what it prints."""
    return (
        "import os, subprocess\n"
        f"subprocess.run({list(command)!r}, env=os.environ | {variables!r}, check=True)\n"
    )


def test_no_patch():
    """With --no-patch prometheus_client is left alone, also by a program that imports mpmetrics."""
    assert THEIRS == output("-c", WHOSE, options=["--no-patch"])
    assert THEIRS == output("-c", "import mpmetrics\n" + WHOSE, options=["--no-patch"])


NESTED = [sys.executable, *RUN]
INNER = [sys.executable, "-c", WHOSE]


@pytest.mark.parametrize(
    ("outer", "inner", "whose"),
    [
        ([], [], OURS),
        ([], ["--no-patch"], THEIRS),
        (["--no-patch"], [], OURS),
        (["--no-patch"], ["--no-patch"], THEIRS),
    ],
)
def test_nested(outer, inner, whose, tmp_path):
    """Of a run in a run the inner one says whether it patches; the user's PYTHONPATH stays."""
    (tmp_path / "sitecustomize.py").write_text("print('the user\\'s')\n")
    said = output(
        *RUN, *inner, "--", *INNER, options=outer, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"
    )

    # Once by the inner run, which is a Python program, too.
    assert "the user's\n" * 2 + whose == said


def test_program_that_changes_pythonpath(tmp_path):
    """What a program puts in front of PYTHONPATH does no harm. One that replaces it takes the hook
    away from the Pythons that it starts; those that import mpmetrics.auto have it again."""
    front = f"{tmp_path}{os.pathsep}{HOOK.parent}"
    auto = [sys.executable, "-c", "import mpmetrics.auto\n" + WHOSE]

    assert OURS == output("-c", below(*INNER, PYTHONPATH=front))
    assert THEIRS == output("-c", below(*INNER, PYTHONPATH=str(tmp_path)))
    assert OURS == output("-c", below(*auto, PYTHONPATH=str(tmp_path)))


def test_subprocess():
    """A Python that the program starts is patched as well, through a shell, too."""
    assert OURS == output("-c", below("sh", "-c", '"$0" -c "$1"', sys.executable, WHOSE))


# A program that knows only prometheus_client, with workers: what each scrape shows, and the truth.
WORKERS = """\
import json, multiprocessing, sys
from prometheus_client import REGISTRY, Counter, Histogram, generate_latest

JOBS = Counter("jobs", "Jobs done.", ["outcome"])
SECONDS = Histogram("seconds", "Time.", buckets=[1, 2])


def work(number):
    JOBS.labels("odd" if number % 2 else "even").inc()
    SECONDS.observe(number % 2 + 0.5)
    generate_latest()  # shares what is counted privately, if another worker has the lock for long


def seen(_=None):
    value = REGISTRY.get_sample_value
    page = generate_latest().decode()
    return [
        value("jobs_total", {"outcome": "odd"}),
        value("jobs_total", {"outcome": "even"}),
        value("seconds_sum"),
        'seconds_bucket{le="1.0"} 50.0' in page,
    ]


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(3) as pool:
        pool.map(work, range(100))
        pages = [*pool.map(seen, range(6)), seen()]
    worker = context.Process(target=work, args=(1,))
    worker.start()
    worker.join()
    print(json.dumps([pages, seen()]))
"""


def test_exact_over_workers(method, tmp_path):
    """A program without one line of ours is exact over its workers, in every process's page."""
    program = tmp_path / "program.py"
    program.write_text(WORKERS)
    pages, last = json.loads(output(program, method))

    assert [[50.0, 50.0, 100.0, True]] * 7 == pages
    assert [51.0, 50.0, 101.5, True] == last
    theirs = json.loads(output(program, method, options=["--no-patch"]))
    assert [[50.0, 50.0, 100.0, True]] * 7 != theirs[0]  # the program is the real thing

"""Compares mpmetrics with prometheus_client, name by name, into docs/compatibility.md.

    python docs/make_compatibility.py            # writes the page
    python docs/make_compatibility.py --check    # exits with 1 if that would change something

Names and signatures come from the installed packages; what stands in REMARKS is what can't be read
from them. A name without a verdict is an error, as is a verdict of "the same" or "better" for what
can't be called as prometheus_client's. The page itself is made with VERSION; with any other version
only the verdicts are checked. tests/test_compatibility.py does that for the oldest supported, too.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import prometheus_client

import mpmetrics

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
OLDEST, VERSION = "0.22.0", "0.26.0"

METRICS = ("Counter", "Gauge", "Summary", "Histogram", "Info", "Enum")
SAME, BETTER, DIFFERENT, ABSENT = "the same", "better", "different", "not there"

# Verdict and why, by name. "*." is for a method of every metric class that has none of its own.
REMARKS: dict[str, tuple[str, str]] = {
    "CollectorRegistry": (
        BETTER,
        "A subclass; `name=` says which registry it is in other processes, too. Without one it is"
        " known by its module, or private to the process and its forks.",
    ),
    "CONTENT_TYPE_PLAIN_0_0_4": (SAME, "Also where prometheus_client is older than this name."),
    "CONTENT_TYPE_PLAIN_1_0_0": (SAME, "Also where prometheus_client is older than this name."),
    "generate_latest": (
        BETTER,
        "Shows all processes; our families are rendered in C without the GIL. Metrics of"
        " prometheus_client's own in the registry are shown as they are. `process_*` and"
        " `python_gc_*` are left out once a second process uses the store.",
    ),
    "MetricsHandler": (BETTER, "Shows all processes, by any of them."),
    "MetricsHandler.do_GET": (SAME, ""),
    "MetricsHandler.log_message": (SAME, "Says nothing."),
    "MetricsHandler.factory": (SAME, ""),
    "make_wsgi_app": (BETTER, "Shows all processes; `path=` serves that path alone."),
    "make_asgi_app": (BETTER, "Shows all processes; `path=` serves that path alone."),
    "start_http_server": (BETTER, "Shows all processes; `path=` serves that path alone."),
    "start_wsgi_server": (BETTER, "Shows all processes; `path=` serves that path alone."),
    "disable_created_metrics": (
        BETTER,
        "Of this process, as ever. Where PROMETHEUS_MULTIPROC_DIR was set when prometheus_client"
        " was imported, PROMETHEUS_DISABLE_CREATED_SERIES and calls of this function count,"
        " which theirs is while `patch()` is in force: a call of theirs before that can't be seen.",
    ),
    "enable_created_metrics": (BETTER, "The same."),
    # ---- the metric classes
    "Counter": (BETTER, "Counts for all processes; not a subclass of prometheus_client's class."),
    "Gauge": (
        DIFFERENT,
        "Without a mode there is one value for all processes, and the last writer wins;"
        " prometheus_client's multi-process mode makes it `all`. With a mode it is as there, but:"
        " `all` forgets a dead process once another one has taken its place; a process that never"
        " wrote takes no part; the dead leave the live modes without a hook."
        " MPMETRICS_GAUGE_MODES overrides.",
    ),
    "Summary": (BETTER, "Counts for all processes; count and sum are of one instant."),
    "Histogram": (
        BETTER,
        "Counts for all processes; buckets, count and sum are of one instant. Buckets that are NaN"
        " or equal to each other are refused.",
    ),
    "Info": (BETTER, "What any process said last; prometheus_client's has no multi-process mode."),
    "Enum": (
        BETTER,
        "What any process said last; prometheus_client's has no multi-process mode. States that"
        " are no str, or equal, are refused.",
    ),
    "*.labels": (
        BETTER,
        "A label set that any process made is the same series. Beyond MPMETRICS_MAX_SERIES label"
        " sets the overflow series.",
    ),
    "*.remove": (
        BETTER,
        "In all processes. prometheus_client's does nothing to others and warns in its"
        " multi-process mode. A child that somebody kept counts for nobody, as there.",
    ),
    "*.remove_by_labels": (BETTER, "In all processes; also with a prometheus_client before 0.23."),
    "*.clear": (BETTER, "In all processes."),
    "*.collect": (
        BETTER,
        "Metric objects, of all processes, that make their samples when they are looked at.",
    ),
    "*.describe": (SAME, ""),
    "*.time": (
        BETTER,
        "The decorator times async functions and generators, too; `duration` has the seconds.",
    ),
    "Counter.inc": (
        BETTER,
        "Exemplars come from every process. A bad exemplar is an error before anything is counted,"
        " there after it. Label names of exemplars that OpenMetrics hasn't are refused: there they"
        " spoil the page.",
    ),
    "Counter.reset": (BETTER, "For all processes. What others count meanwhile is kept."),
    "Counter.count_exceptions": (BETTER, "The decorator works on async functions and generators."),
    "Gauge.inc": (SAME, "In one atomic operation. The mostrecent modes refuse it."),
    "Gauge.dec": (SAME, "In one atomic operation. The mostrecent modes refuse it."),
    "Gauge.set": (SAME, ""),
    "Gauge.set_to_current_time": (SAME, ""),
    "Gauge.track_inprogress": (BETTER, "The decorator works on async functions and generators."),
    "Gauge.set_function": (
        DIFFERENT,
        "Called at once, at each scrape of the process that set it, and by a thread every 5 seconds"
        " so that other processes' scrapes show its last value. In a fork it is not called, and"
        " the other methods still do nothing there.",
    ),
    "Summary.observe": (BETTER, "Count and sum change in one commit."),
    "Histogram.observe": (
        DIFFERENT,
        "Bucket, count and sum change in one commit. NaN counts in `+Inf`; prometheus_client counts"
        " it in no bucket. Exemplars as `Counter.inc`.",
    ),
    "Histogram.DEFAULT_BUCKETS": (SAME, ""),
    "Info.info": (BETTER, "In all processes, in one piece."),
    "Enum.state": (BETTER, "In all processes."),
    # ---- registries
    "CollectorRegistry.register": (
        BETTER,
        "In place of what stands in for other processes' families of the same names.",
    ),
    "CollectorRegistry.collect": (
        BETTER,
        "Looks first at what other processes have declared by then; prometheus_client's own"
        " endpoints call it, too.",
    ),
    "CollectorRegistry.unregister": (
        BETTER,
        "What only another process declared comes back at the next scrape.",
    ),
    "CollectorRegistry.restricted_registry": (
        BETTER,
        "Looks first at what other processes have declared by then, so their families are found,"
        " too.",
    ),
    "CollectorRegistry.get_sample_value": (BETTER, "Of all processes."),
    # ---- prometheus_client.multiprocess
    "multiprocess.MultiProcessCollector": (
        DIFFERENT,
        "Shows every family of the store, of all registries, those of one name and type added up,"
        " gauges by their modes. Beside them, under names that the store hasn't, what"
        " prometheus_client's own metrics have in the folder; a missing folder is no error."
        " `name[]` finds what it shows.",
    ),
    "multiprocess.MultiProcessCollector.collect": (
        BETTER,
        "From the store, and the folder if there is one.",
    ),
    "multiprocess.mark_process_dead": (
        DIFFERENT,
        "Our metrics don't need it: the kernel tells who is dead. Of prometheus_client's own in the"
        " folder it removes the live gauges, as ever. No error where there is no folder.",
    ),
}

# Attributes that libraries and tests read, though their names say that they shouldn't.
PRIVATE = {
    "_name": "",
    "_documentation": "",
    "_type": "",
    "_unit": "",
    "_labelnames": "",
    "_labelvalues": "",
    "_metrics": "Of a metric with labels: its children, by label values, as a copy; what is deleted"
    " there is removed.",
    "_value": "Of a counter or gauge: `_value.get()`, `set()` and `inc()`; of an Info a dict, of an"
    " Enum a number.",
    "_sum": "Of a summary or histogram.",
    "_count": "Of a summary.",
    "_buckets": "Of a histogram.",
    "_created": "",
    "_upper_bounds": "Of a histogram.",
    "_states": "Of an Enum.",
    "_multiprocess_mode": "Of a gauge.",
    "_MULTIPROC_MODES": "Of a gauge.",
    "_original_name": "",
    "_namespace": "",
    "_subsystem": "",
    "_kwargs": "",
    "_lock": "",
}


@dataclass(frozen=True)
class Row:
    """One name of prometheus_client, and ours."""

    name: str
    theirs: Any
    ours: Any  # None: there is none


# ---- names ---------------------------------------------------------------------------------------


def _members(name: str, theirs: type, ours: type) -> Iterator[Row]:
    for member in sorted(member for member in dir(theirs) if not member.startswith("_")):
        if name == "MetricsHandler" and member not in vars(theirs):
            continue  # http.server's
        yield Row(f"{name}.{member}", getattr(theirs, member), getattr(ours, member, None))


def rows() -> list[Row]:
    """Every public name, with the members of the classes that aren't prometheus_client's own."""
    found = []
    names = [(name, prometheus_client, mpmetrics, name) for name in prometheus_client.__all__]
    theirs_multi = importlib.import_module("prometheus_client.multiprocess")
    try:
        ours_multi: Any = importlib.import_module("mpmetrics.multiprocess")
    except ImportError:
        ours_multi = None
    for name in ("MultiProcessCollector", "mark_process_dead"):
        names.append((f"multiprocess.{name}", theirs_multi, ours_multi, name))
    for full, theirs_in, ours_in, name in names:
        theirs, ours = getattr(theirs_in, name), getattr(ours_in, name, None)
        found.append(Row(full, theirs, ours))
        if inspect.isclass(theirs) and ours is not None and theirs is not ours:
            found += _members(full, theirs, ours)
    return found


# ---- signatures ----------------------------------------------------------------------------------


def _default(value: object) -> str:
    if value is prometheus_client.REGISTRY:
        return "REGISTRY"
    if isinstance(value, enum.Enum):
        return f"{value.name}"
    if value == prometheus_client.Histogram.DEFAULT_BUCKETS:
        return "DEFAULT_BUCKETS"
    if inspect.isfunction(value) or inspect.isclass(value):
        return "lambda" if value.__name__ == "<lambda>" else value.__name__
    return repr(value)


def _parameters(function: Any) -> list[inspect.Parameter] | None:
    """Without `self`; None for what can't be called."""
    if not callable(function):
        return None
    parameters = list(inspect.signature(function).parameters.values())
    return parameters[1:] if parameters and parameters[0].name == "self" else parameters


def signature(function: Any) -> str:
    """The signature without annotations, as it is written."""
    parameters = _parameters(function)
    if parameters is None:
        return ""
    bare, empty = list[str](), inspect.Parameter.empty
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not any(
            one == "*" or one.startswith("*") for one in bare
        ):
            bare.append("*")
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is empty else f"={_default(parameter.default)}"
        bare.append(star + parameter.name + default)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            bare.append("/")
    return f"({', '.join(bare)})"


def accepts(ours: Any, theirs: Any) -> bool:
    """May ours be called in every way in which theirs may be called, with the same defaults?"""
    our, their = _parameters(ours), _parameters(theirs)
    if our is None or their is None:
        return (our is None) == (their is None)
    kinds = {parameter.kind for parameter in our}
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds:
        return True
    for place, parameter in enumerate(their):
        if place >= len(our) or our[place].name != parameter.name:
            return False
        if our[place].kind is not parameter.kind:
            return False
        if _default(our[place].default) != _default(parameter.default):
            return False
    empty = inspect.Parameter.empty
    return all(parameter.default is not empty for parameter in our[len(their) :])


# ---- verdicts ------------------------------------------------------------------------------------


def _key(name: str) -> str:
    class_, _, method = name.partition(".")
    return f"*.{method}" if name not in REMARKS and class_ in METRICS and method else name


def verdict(row: Row) -> tuple[str, str]:
    """What the page says of the name. Raises LookupError if it can't be said, or isn't so."""
    if row.ours is row.theirs and row.name not in REMARKS:
        return SAME, "prometheus_client's own."
    if _key(row.name) not in REMARKS:
        raise LookupError(f"{row.name} has no verdict in {__file__}")
    says, why = REMARKS[_key(row.name)]
    if (says == ABSENT) != (row.ours is None):
        raise LookupError(f"{row.name}: the verdict is {says!r}, but we have {row.ours!r}")
    if says in (SAME, BETTER) and not accepts(row.ours, row.theirs):
        raise LookupError(
            f"{row.name} is said to be {says}, but has the signature {signature(row.ours)}, "
            f"not {signature(row.theirs)}"
        )
    return says, why


def check() -> list[str]:
    """What is wrong with the verdicts, with whatever prometheus_client is installed."""
    wrong = []
    for row in rows():
        try:
            verdict(row)
        except LookupError as error:
            wrong.append(str(error))
    unused = REMARKS.keys() - {_key(row.name) for row in rows()}
    if unused and version("prometheus_client") == VERSION:
        wrong.append(f"prometheus_client {VERSION} has no {sorted(unused)}")
    return wrong


# ---- the page ------------------------------------------------------------------------------------

HEAD = f"""\
# Compatibility with prometheus_client

Every public name of prometheus_client {VERSION}, the newest version that is supported, and how
mpmetrics' own compares. Made by `docs/make_compatibility.py` from both packages; don't edit it.
`tests/test_compatibility.py` makes it anew, and compares the verdicts with prometheus_client
{OLDEST}, the oldest supported, too.

**The same**: no difference that we know. **Better**: can be called in every way in which
prometheus_client's can, and does more. **Different**: what it does, or how it is called, differs.
Where our signature is another one, it stands below theirs. What applies to the values rather than
to a name is in [guarantees.md](guarantees.md#stated-differences-from-prometheus_client).
"""


def _row(row: Row) -> str:
    says, why = verdict(row)
    shown = signature(row.theirs).replace("|", "\\|")
    cell = f"`{shown}`" if shown else ""
    ours = signature(row.ours) if row.ours is not None else ""
    if row.ours is not row.theirs and ours and ours != signature(row.theirs):
        cell += f"<br>`{ours}`"
    mark = says if says in (SAME, BETTER) else f"**{says}**"
    return f"| `{row.name}` | {mark} | {why} | {cell} |"


def _table(chosen: list[Row]) -> list[str]:
    return ["| name | | | signature |", "|---|---|---|---|", *map(_row, chosen), ""]


def _classes() -> dict[str, list[Any]]:
    """Of each metric class a metric, a metric with labels, and a child, of either library."""
    made = {}
    for library in (prometheus_client, mpmetrics):
        for name in METRICS:
            more: dict[str, Any] = {"states": ["a"]} if name == "Enum" else {}
            make: Callable[..., Any] = getattr(library, name)
            plain = make("m", "h", registry=None, **more)
            parent = make("m", "h", ["l"], registry=None, **more)
            made[f"{library.__name__}.{name}"] = [plain, parent, parent.labels("x")]
    return made


def _private() -> Iterator[str]:
    made = _classes()
    yield "| attribute | | |"
    yield "|---|---|---|"
    for attribute, remark in PRIVATE.items():
        missing = [
            name
            for name in METRICS
            for theirs, ours in zip(
                made[f"prometheus_client.{name}"], made[f"mpmetrics.{name}"], strict=True
            )
            if hasattr(theirs, attribute) and not hasattr(ours, attribute)
        ]
        says = "there" if not missing else "**not there**"
        who = (
            ""
            if not missing or len(set(missing)) == len(METRICS)
            else ", ".join(sorted(set(missing)))
        )
        yield f"| `{attribute}` | {says}{': ' + who if who else ''} | {remark} |"


def page() -> str:
    """The whole page, of the installed packages."""
    every = rows()
    whole = [row for row in every if "." not in row.name]
    lines = [HEAD, "## Names of the package", "", *_table(whole)]
    for name in METRICS:
        lines += [f"## {name}", "", *_table([r for r in every if r.name.startswith(name + ".")])]
    for name in ("CollectorRegistry", "MetricsHandler", "multiprocess"):
        lines += [f"## {name}", "", *_table([r for r in every if r.name.startswith(name + ".")])]
    lines += [
        "## Attributes that begin with an underscore",
        "",
        "prometheus_client promises none of them, and neither do we; but libraries and tests read",
        "some. What one of prometheus_client's metrics has and ours has not, is not there.",
        "",
        *_private(),
        "",
        "`isinstance(metric, prometheus_client.Counter)` is false for our counters unless",
        "`mpmetrics.patch()` has put our classes in prometheus_client's place.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    wrong = check()
    if wrong:
        print(*wrong, sep="\n")
        return 1
    if version("prometheus_client") != VERSION:
        print(f"verdicts hold; the page is made with prometheus_client {VERSION}")
        return 0
    made = page()
    if PAGE.exists() and made == PAGE.read_text(encoding="utf-8"):
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{PAGE} is not what the packages say; run: python docs/make_compatibility.py")
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The demo judges truly: it ends with `exact` if the metrics are, and notices if they aren't."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import demo  # noqa: E402
from rig import page  # noqa: E402
from rig.load import Truth, buy, count_stock, look, stumble  # noqa: E402
from rig.processes import Child, wait_until  # noqa: E402
from rig.server import Scrape  # noqa: E402

VERDICT = re.compile(
    r"exact: [\d,]+ orders, [\d,]+\.\d\d revenue, [\d,]+ errors equal in (\d+) scrapes of 4 workers"
)

PAGE = """\
# HELP shop_orders_total Orders, by what became of them.
# TYPE shop_orders_total counter
shop_orders_total{product="tea",outcome="sold"} 2.0
shop_orders_total{product="tea",outcome="refused"} 1.0
shop_orders_total{product="cake",outcome="sold"} 0.0
shop_orders_created{product="tea",outcome="sold"} 1.7e+09
shop_revenue_euros_total 7.25
shop_basket_pieces_count 2.0
shop_basket_pieces_sum 5.0
shop_errors_total{kind="card_limit"} 1.0
shop_errors_total{kind="unknown_product"} 1.0
shop_errors_total{kind="till_jammed"} 1.0
shop_request_seconds_bucket{le="0.001",route="/order"} 1.0
shop_request_seconds_bucket{le="+Inf",route="/order"} 3.0
shop_request_seconds_count{route="/order"} 3.0
shop_request_seconds_sum{route="/order"} 0.01
shop_request_seconds_bucket{le="0.001",route="/product"} 1.0
shop_request_seconds_bucket{le="+Inf",route="/product"} 1.0
shop_request_seconds_count{route="/product"} 1.0
shop_request_seconds_count{route="/fail"} 1.0
shop_request_seconds_count{route="/stock"} 1.0
shop_stock_pieces{product="tea"} 40.0
shop_state{shop_state="open"} 1.0
shop_state{shop_state="closed"} 0.0
shop_info{version="1.0"} 1.0
mpmetrics_processes 5.0
"""

REQUESTS = (
    buy("tea", 2, 4.5),
    buy("tea", 3, 2.75),
    buy("tea", 50, 100.25),
    look("moonshine"),
    stumble(),
    count_stock("tea", 40),
)

DOCTORED = {
    "one order too few": ('outcome="sold"} 2.0', 'outcome="sold"} 1.0'),
    "one order too many": ('outcome="refused"} 1.0', 'outcome="refused"} 2.0'),
    "a quarter missing": ("7.25", "7.0"),
    "a series missing": ('shop_errors_total{kind="till_jammed"} 1.0\n', ""),
    "a series nobody made": (
        'product="cake",outcome="sold"} 0.0',
        'product="cake",outcome="sold"} 1.0',
    ),
    "an old setting": ('product="tea"} 40.0', 'product="tea"} 39.0'),
    "the other state": ('shop_state="open"} 1.0', 'shop_state="open"} 0.0'),
    "a wrong sum": ("pieces_sum 5.0", "pieces_sum 6.0"),
    "a torn histogram": ('le="+Inf",route="/order"} 3.0', 'le="+Inf",route="/order"} 2.0'),
    "buckets that go down": ('le="0.001",route="/order"} 1.0', 'le="0.001",route="/order"} 4.0'),
    "not a number": ("7.25", "NaN"),
}


def truth_of_page() -> Truth:
    truth = Truth()
    for request in REQUESTS:
        truth.send(request)
        truth.answer(request)
    return truth


def doctored(change: str) -> str:
    before, after = DOCTORED[change]
    assert PAGE.count(before) == 1
    return PAGE.replace(before, after)


class OneWorkerLies:
    """In the place of a server: four workers, of which the last shows a page of its own."""

    workers = 4

    def __init__(self, lie: str) -> None:
        self._lie = lie

    def scrape_all(self) -> list[Scrape]:
        return [Scrape(worker, PAGE) for worker in (1, 2, 3)] + [Scrape(4, self._lie)]


class NoLoad:
    """In the place of the load: its truth is known already, and the shop isn't closed."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.problems: list[str] = []

    def ask(self, request: object) -> None:
        pass


def judge(lie: str) -> tuple[list[str], str]:
    return demo.judge(cast(Any, OneWorkerLies(lie)), cast(Any, NoLoad(truth_of_page())), None)


@contextmanager
def running_demo(folder: Path, *arguments: str) -> Iterator[tuple[Child, Path]]:
    """The demo as users run it, its temporary files in `folder`; ended with all it started."""
    (folder / "tmp").mkdir()
    output = folder / "output"
    command = [sys.executable, str(EXAMPLES / "demo.py"), "--no-prometheus", *arguments]
    with Child(command, log=output, env=os.environ | {"TMPDIR": str(folder / "tmp")}) as child:
        try:
            yield child, output
        finally:
            # The shop runs in a group of its own, so the demo has to end it: it needs the time.
            child.end(grace=45)


def exit_status(child: Child, seconds: float = 60.0) -> int | None:
    """Waits for its end by itself."""
    wait_until(lambda: not child.is_running(), seconds)
    assert not child.is_running(), child.last_words()
    child.end()
    return child.status


def worker_pids(output: str) -> set[int]:
    return {int(pid) for pid in re.findall(r"worker (\d+) says", output)}


def test_page_equals_truth() -> None:
    """A page that shows what the requests did has no difference, and nothing out of bounds."""
    truth = truth_of_page()
    values = page.read(PAGE)

    assert [] == page.differences(values, truth.at_rest())
    assert [] == page.out_of_bounds(values, truth.answered(), truth.sent())


@pytest.mark.parametrize("change", DOCTORED)
def test_wrong_page_is_noticed(change: str) -> None:
    """A page that is wrong in one sample, by as little as one, is a difference."""
    assert page.differences(page.read(doctored(change)), truth_of_page().at_rest())


@pytest.mark.parametrize("change", DOCTORED)
def test_one_wrong_worker_spoils_the_verdict(change: str) -> None:
    """Three workers that tell the truth don't cover up for the fourth."""
    assert [] == judge(PAGE)[0]
    assert judge(doctored(change))[0]


def test_scrape_under_load_has_bounds() -> None:
    """A page under load may be ahead of the answers, not behind them nor ahead of requests."""
    truth = truth_of_page()
    truth.send(REQUESTS[0])
    ahead = truth.sent()

    assert [] == page.out_of_bounds(page.read(PAGE), truth.answered(), truth.sent())
    assert [] == page.out_of_bounds(ahead, truth.answered(), truth.sent())
    truth.answer(REQUESTS[0])
    assert page.out_of_bounds(page.read(PAGE), truth.answered(), truth.sent())
    assert page.out_of_bounds(dict.fromkeys(ahead, 9.0), truth.answered(), truth.sent())


def test_truth_is_only_told_at_rest() -> None:
    """While a request is in flight there is no exact truth, and asking for it is an error."""
    truth = truth_of_page()
    truth.send(REQUESTS[0])

    with pytest.raises(RuntimeError, match="1 requests are in flight"):
        truth.at_rest()


@pytest.mark.parametrize("text", ["shop_x 1.0\nshop_x 1.0\n", "shop_x\n", 'shop_x{a="b} 1.0\n'])
def test_broken_page_is_refused(text: str) -> None:
    """A sample that is there twice, or a line that is none, is an error and not skipped."""
    with pytest.raises(ValueError, match="shop_x"):
        page.read(text)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_demo_is_exact(tmp_path: Path) -> None:
    """After some seconds of load every worker shows the truth, and the demo leaves nothing."""
    with running_demo(tmp_path, "--seconds", "3") as (child, output):
        status = exit_status(child)

    text = output.read_text()
    verdict = VERDICT.fullmatch(text.splitlines()[-1])
    assert (0, True) == (status, verdict is not None), text
    assert verdict is not None
    assert int(verdict[1]) >= 20
    assert 3 == text.count("in flight")
    assert [] == list((tmp_path / "tmp").iterdir())
    assert wait_until(lambda: not any(map(_runs, worker_pids(text))), 10)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_demo_is_exact_though_workers_are_killed(tmp_path: Path) -> None:
    """What a worker counted stays when it is killed with SIGKILL, and its successor goes on."""
    with running_demo(tmp_path, "--seconds", "5", "--kill") as (child, output):
        status = exit_status(child)

    text = output.read_text()
    assert " killed\n" in text
    assert (0, True) == (status, VERDICT.fullmatch(text.splitlines()[-1]) is not None), text


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_demo_without_end_is_ended_by_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Without --seconds it runs until Ctrl-C or SIGTERM, then compares, and leaves nothing."""
    with running_demo(tmp_path) as (child, output):
        wait_until(lambda: "in flight" in output.read_text() or not child.is_running(), 30)
        os.kill(child.pid, number)
        status = exit_status(child)

    text = output.read_text()
    assert (0, True) == (status, VERDICT.fullmatch(text.splitlines()[-1]) is not None), text
    assert [] == list((tmp_path / "tmp").iterdir())
    assert wait_until(lambda: not any(map(_runs, worker_pids(text))), 10)


def test_child_is_ended_with_its_group(tmp_path: Path) -> None:
    """A program that ignores SIGTERM is killed after the grace, and so is what it started."""
    script = "trap '' TERM; sleep 60 & echo $!; wait; sleep 60"
    with Child(["sh", "-c", script], log=tmp_path / "log") as child:
        wait_until(lambda: child.last_words() != "", 10)
        grandchild = int(child.last_words())
        child.end(grace=0.1)

    gone = wait_until(lambda: not _runs(grandchild), 30)
    assert (True, -signal.SIGKILL) == (gone, child.status)


def _runs(pid: int) -> bool:
    """Whether it runs; an orphan that nobody reaps doesn't."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"

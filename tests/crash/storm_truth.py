"""What must be true of each page that is scraped in the storm.

Every histogram observes nothing but its own bounds, or BEYOND, and every summary 1.0. So the sum
that belongs to a page's buckets and counts can be told exactly.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping

from .storm_board import KIND, RESET, RESETS, TOTALS, Board
from .storm_work import BEYOND
from .watching import read

_BUCKET = re.compile(r'(\w+)_bucket\{(.*?)le="([^"]*)"(.*)\}')
_COUNT = re.compile(r"(\w+)_count(\{.*\})?")
_INFO = re.compile(r'about_info\{a="(.*?)",b="(.*?)"\}')
_EXEMPLAR = re.compile(
    r'^(\w+)(\{.*?\})? \S+ # \{a="(.*?)",b="(.*?)"(.*?)\} (\S+) \S+$', re.MULTILINE
)
_LONG = ("", f',long="{"€" * 80}"')  # what an exemplar may have besides
_RISING = ("seconds_", "wide_", "size_", "latency_", "of_max")  # what begins so never falls


def torn(values: Mapping[str, float]) -> list[str]:
    """The histograms and summaries whose numbers aren't of one instant."""
    heights: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    wrong = []
    for name, value in values.items():
        found = _BUCKET.fullmatch(name)
        if found is not None:
            others = (found[2] + found[4]).strip(",")
            heights[found[1], f"{{{others}}}" if others else ""][found[3]] = value
    for name, count in values.items():
        found = _COUNT.fullmatch(name)
        if found is not None:
            family, labels = found[1], found[2] or ""
            total = values[f"{family}_sum{labels}"]
            buckets = heights.get((family, labels), {"1": count})
            if (count, total) != _expected(buckets):
                wrong.append(f"{name} is torn: {count}, sum {total}, buckets {buckets}")
    return wrong


def _expected(buckets: Mapping[str, float]) -> tuple[float, float]:
    """The count and the sum that belong to these buckets, the lowest first."""
    below = total = 0.0
    for bound, height in buckets.items():
        total += (height - below) * (BEYOND if bound == "+Inf" else float(bound))
        below = height
    return below, total


def halves(page: bytes, values: Mapping[str, float]) -> list[str]:
    """What is shown in part: Info, Enum and exemplars."""
    text = page.decode()
    wrong = []
    infos = _INFO.findall(text)
    if len(infos) != 1 or infos[0][0] != infos[0][1]:
        wrong.append(f"of Info there is {infos}")
    states = [value for name, value in values.items() if name.startswith("state{")]
    if sorted(states) != [0.0, 0.0, 1.0]:
        wrong.append(f"of Enum there is {states}")
    for found in _EXEMPLAR.finditer(text):
        bounds = re.search(r'le="([^"]*)"', found[2] or "")
        value = 1.0 if bounds is None else BEYOND if bounds[1] == "+Inf" else float(bounds[1])
        if found[1] == "paid_total":
            value = float(found[3])
        if found[3] != found[4] or float(found[6]) != value or found[5] not in _LONG:
            wrong.append(f"an exemplar is torn: {found[0]}")
    return wrong


class Watcher:
    """Judges the pages that one process scrapes, one after the other."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._last: dict[str, float] = {}
        self._resets = 0  # done when the last page was asked for

    def watch(self, scrape: Callable[[], bytes]) -> list[str]:
        """Scrapes, and says what is wrong with the page."""
        board = self._board
        done, resets = board.done(), board.resets(RESET)
        page = scrape()
        most, begun = board.most(), board.resets(RESETS)
        values = read(page)
        wrong = torn(values) + halves(page, values)
        for kind, name in TOTALS.items():
            shown = values.get(name, 0.0)
            if not done[KIND[kind]] <= shown <= most[KIND[kind]]:
                wrong.append(
                    f"{name} is {shown}; {done[KIND[kind]]} were acknowledged before, "
                    f"{most[KIND[kind]]} can be"
                )
        wrong += self._backwards(values, begun)
        self._last, self._resets = values, resets
        return wrong

    def _backwards(self, values: Mapping[str, float], begun: int) -> list[str]:
        """What is less than it was on the last page, or below zero; `begun`: resets, by now."""
        rising = {name for name in self._last if name.startswith(_RISING)} | {*TOTALS.values()}
        before = {name: self._last.get(name, 0.0) for name in rising}
        before["visits_total"] = self._last.get("visits_total", 0.0) if begun == self._resets else 0
        wrong = [
            f"{name} goes back from {least} to {values.get(name)}"
            for name, least in before.items()
            if values.get(name, 0.0) < least
        ]
        if values.get("of_min", 0.0) > self._last.get("of_min", 0.0):
            wrong.append(
                f"of_min goes up from {self._last.get('of_min')} to {values.get('of_min')}"
            )
        return wrong

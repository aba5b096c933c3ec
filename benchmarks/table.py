"""Rows of results and how they are printed: Markdown, so that a run can be pasted."""

from collections.abc import Sequence
from dataclasses import dataclass

from .contenders import ALL, MULTI, OURS, SINGLE

NONE = "-"


@dataclass(frozen=True)
class Row:
    """One thing measured: a value for each contender, in `contenders.ALL`'s order."""

    section: str
    name: str
    unit: str
    values: tuple[float | None, ...]
    empty: float | None = None  # what an empty C method costs, in the same unit
    compare: bool = True  # False: no figure of merit, so nothing may be claimed from it

    def ratios(self) -> dict[str, float | None]:
        """What may be claimed: ours over the yardstick, the peer's modes over ours."""
        ours, single, multi = (self.values[ALL.index(c)] for c in (OURS, SINGLE, MULTI))
        if not self.compare:
            ours = None
        return {
            "ours/empty": _ratio(ours, self.empty),
            "single/ours": _ratio(single, ours),
            "multi/ours": _ratio(multi, ours),
        }


def _ratio(over: float | None, under: float | None) -> float | None:
    # A quick run may measure less than the loop itself; such a figure divides nothing.
    if over is None or under is None or under <= 0 or over <= 0:
        return None
    return over / under


def markdown(rows: Sequence[Row]) -> str:
    """One table; columns are as wide as their widest cell, so it reads in a terminal too."""
    head = ["", "unit", *(c.title for c in ALL), "ours/empty", "single/ours", "multi/ours"]
    body = [
        [row.name, row.unit, *map(_number, row.values), *map(_times, row.ratios().values())]
        for row in rows
    ]
    keep = [i for i in range(len(head)) if i < 2 or any(line[i] != NONE for line in body)]
    lines = [[line[i] for i in keep] for line in [head, *body]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(keep))]
    rule = ["-" * widths[0], "-" * widths[1], *("-" * (w - 1) + ":" for w in widths[2:])]
    return "\n".join(_line(line, widths) for line in [lines[0], rule, *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(w) for cell, w in zip(cells[:2], widths[:2], strict=True)]
    right = [cell.rjust(w) for cell, w in zip(cells[2:], widths[2:], strict=True)]
    return "| " + " | ".join(left + right) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def _times(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f}x" if value < 10 else f"{value:,.0f}x"

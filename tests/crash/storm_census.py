"""What the store must show while everybody stands still: who may be in which number."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .storm_board import BASE, DOING, KIND, TOTALS, WORKERS, Board
from .storm_work import number

_EACH = re.compile(r'of_(all|liveall)\{pid="(\d+)"\}')


class Census:
    """The board at one instant; `living`: the workers' pids by slot."""

    def __init__(self, board: Board, living: Mapping[int, int]) -> None:
        self._done = board.done()
        self._lost = board.unacknowledged.tolist()
        self._rows = [row.tolist() for row in board.workers]
        self._living = living

    def judge(self, values: Mapping[str, float]) -> list[str]:
        """What is wrong with a page of that instant."""
        wrong = []
        for kind, name in TOTALS.items():
            k = KIND[kind]
            least = self._done[k]
            most = least + self._lost[k] + sum(row[DOING] == k + 1 for row in self._rows)
            if not least <= values.get(name, 0.0) <= most:
                wrong.append(f"{name} is {values.get(name)} at rest, not {least} to {most}")
        wrong += self._livesum(values.get("of_livesum"))
        for mode in ("max", "livemax", "min", "livemin"):
            wrong += self._extreme(mode, values.get(f"of_{mode}"))
        for mode in ("mostrecent", "livemostrecent"):
            wrong += self._latest(mode, values.get(f"of_{mode}"))
        for mode in ("all", "liveall"):
            wrong += self._each(mode, values)
        return wrong

    def unacknowledged(self, values: Mapping[str, float]) -> float:
        """How many updates the totals have that nobody acknowledged."""
        return sum(values.get(name, 0.0) - self._done[KIND[kind]] for kind, name in TOTALS.items())

    # ---- gauges with a mode: which slots take part, and with which of their updates --------------

    def _range(self, mode: str, slot: int, alive: bool) -> tuple[int, int]:
        """The first and the last of a slot's updates that may be its newest one; 0: none.

        `alive`: only what the process that lives there now has set."""
        k, row = KIND[mode], self._rows[slot]
        least = 0 if alive and row[k] == row[BASE + k] else row[k]
        is_doing = row[DOING] == k + 1 or (not alive and self._lost[k] > 0)
        return least, row[k] + 1 if is_doing else least

    def _taking_part(self, mode: str) -> dict[int, tuple[int, int]]:
        alive = mode.startswith("live")
        slots = self._living if alive else range(WORKERS)
        return {slot: self._range(mode, slot, alive) for slot in slots}

    def _livesum(self, shown: float | None) -> list[str]:
        k = KIND["livesum"]
        rows = [self._rows[slot] for slot in self._living]
        least = sum(row[k] - row[BASE + k] for row in rows)
        most = least + sum(row[DOING] == k + 1 for row in rows)
        if least <= (shown or 0.0) <= most:
            return []
        return [f"of_livesum is {shown} at rest, not {least} to {most}"]

    def _extreme(self, mode: str, shown: float | None) -> list[str]:
        """The greatest of what was set, or of its negatives."""
        ranges = self._taking_part(mode)
        least = max((number(s, first) for s, (first, _) in ranges.items() if first), default=0.0)
        most = max((number(s, last) for s, (_, last) in ranges.items() if last), default=0.0)
        if least <= abs(shown or 0.0) <= most:
            return []
        return [f"of_{mode} is {shown} at rest, not {least} to {most}"]

    def _latest(self, mode: str, shown: float | None) -> list[str]:
        """Any living process's newest; of the dead any may be the one that is left."""
        ranges = self._taking_part(mode)
        n, slot = divmod(int(shown or 0), WORKERS)
        least, most = ranges.get(slot, (0, 0))
        if shown is None:
            nobody = not any(self._range(mode, slot, True)[0] for slot in self._living)
            return [] if nobody else [f"of_{mode} is not there at rest"]
        if (least if mode.startswith("live") else 1) <= n <= most:
            return []
        return [f"of_{mode} is {shown} at rest: worker {slot}'s {n}, not {least} to {most}"]

    def _each(self, mode: str, values: Mapping[str, float]) -> list[str]:
        """Each living process's own, under its pid; of the dead only `all` shows some."""
        shown = {
            int(found[2]): value
            for name, value in values.items()
            if (found := _EACH.fullmatch(name)) is not None and found[1] == mode
        }
        wrong = []
        for slot, pid in self._living.items():
            least, most = self._range(mode, slot, True)
            value = shown.pop(pid, None)
            n = 0 if value is None else (value - slot) / WORKERS
            if not least <= n <= most:
                wrong.append(f"of_{mode} is worker {slot}'s {n} at rest, not {least} to {most}")
        if mode == "liveall" and shown:
            wrong.append(f"of_liveall shows the dead: {shown}")
        return wrong

"""
The load: visitors who ask the shop for things at a steady pace, and keep the truth about it.

A request knows what it must change. The shop counts before it answers, so a metric is never below
what was answered, nor above what was sent, and equal to both when nobody is in flight. Amounts
are multiples of 1/4: their sums are exact in any order.
"""

import http.client
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from .page import Sample, sample

PRODUCTS = ("tea", "coffee", "cake")


@dataclass(frozen=True)
class Request:
    """One request, the status it must be answered with, and what it must change."""

    method: str
    path: str
    status: int
    adds: Mapping[Sample, float]
    sets: Mapping[Sample, float] = field(default_factory=dict)


def _timed(route: str) -> dict[Sample, float]:
    return {sample("shop_request_seconds_count", route=route): 1}


def buy(product: str, pieces: int, amount: float) -> Request:
    """An order; a card pays up to 100."""
    path = f"/order?product={product}&pieces={pieces}&amount={amount}"
    if amount > 100:
        return Request(
            "POST",
            path,
            402,
            _timed("/order")
            | {sample("shop_orders_total", product=product, outcome="refused"): 1}
            | {sample("shop_errors_total", kind="card_limit"): 1},
        )
    return Request(
        "POST",
        path,
        200,
        _timed("/order")
        | {sample("shop_orders_total", product=product, outcome="sold"): 1}
        | {"shop_revenue_euros_total": amount}
        | {"shop_basket_pieces_count": 1, "shop_basket_pieces_sum": pieces},
    )


def look(product: str) -> Request:
    """A visit to a product's page."""
    if product in PRODUCTS:
        return Request("GET", f"/product/{product}", 200, _timed("/product"))
    errors = {sample("shop_errors_total", kind="unknown_product"): 1.0}
    return Request("GET", f"/product/{product}", 404, _timed("/product") | errors)


def stumble() -> Request:
    """A request that fails."""
    errors = {sample("shop_errors_total", kind="till_jammed"): 1.0}
    return Request("GET", "/fail", 500, _timed("/fail") | errors)


def count_stock(product: str, pieces: int) -> Request:
    """The shelf is counted anew."""
    stock = {sample("shop_stock_pieces", product=product): float(pieces)}
    return Request("POST", f"/stock/{product}?pieces={pieces}", 200, _timed("/stock"), stock)


def close_shop() -> Request:
    """The shop closes; no request changes that."""
    sets = {
        sample("shop_state", shop_state="open"): 0.0,
        sample("shop_state", shop_state="closed"): 1.0,
    }
    return Request("POST", "/close", 200, _timed("/close"), sets)


def next_request(dice: random.Random, *, takes_stock: bool) -> Request:
    """What a visitor does next."""
    what = dice.random()
    product = dice.choice(PRODUCTS)
    if what < 0.45:
        return buy(product, dice.randint(1, 9), dice.randint(1, 160) / 4)
    if what < 0.50:
        return buy(product, dice.randint(50, 60), dice.randint(401, 800) / 4)
    if what < 0.85:
        return look(product)
    if what < 0.90:
        return look("moonshine")
    if what < 0.95 or not takes_stock:
        return stumble()
    return count_stock(product, dice.randint(0, 500))


class Truth:
    """
    What the metrics must say, kept by those who ask.

    `sent` and `answered` hold what goes up, `settings` what was set last; at rest they are exact.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[Sample, float] = {}
        self._answered: dict[Sample, float] = {}
        self._settings: dict[Sample, float] = {
            sample("shop_info", version="1.0"): 1.0,
            sample("shop_state", shop_state="open"): 1.0,
        }
        self._in_flight = 0

    @staticmethod
    def _add(tally: dict[Sample, float], adds: Mapping[Sample, float]) -> None:
        for key, value in adds.items():
            tally[key] = tally.get(key, 0.0) + value

    def send(self, request: Request) -> None:
        with self._lock:
            self._add(self._sent, request.adds)
            self._in_flight += 1

    def answer(self, request: Request) -> None:
        with self._lock:
            self._add(self._answered, request.adds)
            self._settings.update(request.sets)
            self._in_flight -= 1

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def sent(self) -> dict[Sample, float]:
        with self._lock:
            return dict(self._sent)

    def answered(self) -> dict[Sample, float]:
        with self._lock:
            return dict(self._answered)

    def at_rest(self) -> dict[Sample, float]:
        """Everything that a page must show; only when nothing is in flight."""
        with self._lock:
            if self._in_flight:
                raise RuntimeError(f"{self._in_flight} requests are in flight")
            return self._answered | self._settings


class Load:
    """Threads that ask the shop, together `rate` requests a second, until told to stop."""

    VISITORS = 6
    REQUESTS_PER_CONNECTION = 25  # then a new one, which may go to another worker

    def __init__(self, address: tuple[str, int], *, rate: float = 200.0, seed: int = 0) -> None:
        self.truth = Truth()
        self.problems: list[str] = []
        self._address = address
        self._pause_between = self.VISITORS / rate
        self._stopping = threading.Event()
        self._may_run = threading.Event()
        self._may_run.set()
        self._idle = [threading.Event() for _ in range(self.VISITORS)]
        self._threads = [
            threading.Thread(target=self._visit, args=(number, seed), daemon=True)
            for number in range(self.VISITORS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float = 15.0) -> None:
        """No new requests; returns when all are answered, or notes in `problems` what isn't."""
        self._stopping.set()
        self._may_run.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self.problems.append(f"requests without an answer after {seconds} s")

    @contextmanager
    def silence(self, seconds: float = 15.0) -> Iterator[bool]:
        """Within, nobody is in flight and no connection is open; False if that took too long."""
        self._may_run.clear()
        try:
            deadline = time.monotonic() + seconds
            yield all(idle.wait(max(0.0, deadline - time.monotonic())) for idle in self._idle)
        finally:
            self._may_run.set()

    def ask(self, request: Request) -> None:
        """One request beside the others, on a connection of its own."""
        connection = http.client.HTTPConnection(*self._address, timeout=10)
        try:
            self._ask(connection, request)
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, request: Request) -> None:
        self.truth.send(request)
        try:
            connection.request(request.method, request.path)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            # Counted or not, nobody knows: the run can't be judged, and says so.
            self.problems.append(f"{request.path} wasn't answered: {error!r}")
            return
        if response.status != request.status:
            self.problems.append(
                f"{request.path} was answered {response.status}, not {request.status}"
            )
        self.truth.answer(request)

    def _visit(self, number: int, seed: int) -> None:
        dice = random.Random(seed * self.VISITORS + number)
        due = time.monotonic() + self._pause_between * number / self.VISITORS
        while not self._stopping.is_set() and not self.problems:
            if not self._may_run.is_set():
                self._idle[number].set()
                self._may_run.wait()
                self._idle[number].clear()
                continue
            connection = http.client.HTTPConnection(*self._address, timeout=10)
            for _ in range(self.REQUESTS_PER_CONNECTION):
                # Late visitors don't catch up: a slow machine gets less load, not a burst.
                due = max(due + self._pause_between, time.monotonic())
                if self._stopping.wait(due - time.monotonic()) or self.problems:
                    break
                if not self._may_run.is_set():
                    break
                # One visitor alone counts the stock: so it is known who was last.
                self._ask(connection, next_request(dice, takes_stock=number == 0))
            connection.close()
        self._idle[number].set()

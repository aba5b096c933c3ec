"""How much is measured: the full sizes, and those of `--quick`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes of one run of the command. The defaults are those a claim needs."""

    runs: int = 6  # fresh processes per contender, interleaved
    slow_runs: int = 3  # the same, of what takes seconds each time: series and scrapes
    loops: int = 100_000  # updates per timing
    repeats: int = 3  # timings per process and statement
    label_sets: int = 10_000  # made one after the other
    processes: int = 16  # alive while one of them is scraped
    histograms: int = 1_000  # series that each of those observes
    counters: int = 10_000  # series of the one process that is scraped alone
    scrapes: int = 5  # per run
    children: int = 5_000  # label sets that memory is divided by


# Exercises every line within a few seconds. Its figures mean nothing.
QUICK = Settings(
    runs=1,
    slow_runs=1,
    loops=1_000,
    repeats=2,
    label_sets=500,
    processes=3,
    histograms=20,
    counters=200,
    scrapes=2,
    children=200,
)

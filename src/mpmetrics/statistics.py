"""What `Store.statistics()` gives; also where there are no stores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoreStatistics:
    """Numbers about a store. Bytes where the name says so."""

    file_bytes: int = 0
    used_bytes: int = 0
    reserve_bytes: int = 0  # the most that the file may ever have
    blocks: int = 0
    series: int = 0
    max_series: int = 0  # of one family; 0: any number
    processes: int = 0  # living ones that write
    free_shards: int = 0  # waiting for the next process
    leases: int = 0  # processes that ever changed the store
    dropped: int = 0  # times that a metric or a label set found no room, in its family or the store
    unsettled: int = 0  # reads whose sum may be of a neighbouring instant
    repairs: int = 0  # times that the work of a process killed inside the lock was mended
    lost: int = 0  # metrics that went away while they counted privately
    private: int = 0  # metrics of this process that count in its own memory for now
    growth_refused: bool = False  # there was no room for more the last time that there had to be
    born: float = 0.0  # seconds since 1970

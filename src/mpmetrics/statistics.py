"""What `Store.statistics()` gives; also where there are no stores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoreStatistics:
    """Numbers about a store. Bytes where the name says so."""

    file_bytes: int
    used_bytes: int
    reserve_bytes: int  # the most that the file may ever have
    blocks: int
    series: int
    max_series: int  # of one family; 0: any number
    processes: int  # living ones that write
    free_shards: int  # waiting for the next process
    leases: int  # processes that ever changed the store
    dropped: int  # times that a metric or a label set found no room, in its family or the store
    unsettled: int  # reads whose sum may be of a neighbouring instant
    repairs: int  # times that the work of a process killed inside the lock was mended
    lost: int  # metrics that went away while they counted privately
    private: int  # metrics of this process that count in its own memory for now
    growth_refused: bool  # there was no room for more the last time that there had to be
    born: float  # seconds since 1970

"""What every application here has beside its library's metrics; it knows prometheus_client only."""

import time

from prometheus_client import Counter, Enum, Info

BUILD = Info("shop_build", "What is running.")
BUILD.info({"version": "1.2"})
STATE = Enum("shop_state", "How it does.", states=["starting", "ready"])
STATE.state("ready")
JOBS = Counter("shop_jobs", "Requests that did something.")


def work():
    """One request, traced; it takes long enough for the other worker to get a turn."""
    JOBS.inc(exemplar={"trace_id": "abc"})
    time.sleep(0.002)

"""An application of today: prometheus_client in its multi-process mode, as its README has it."""

import own
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

SECONDS = Histogram("seconds", "Time that each took, as the application says.", buckets=[0.2, 0.5])
RUNNING = Gauge("running", "Requests that are being answered.", multiprocess_mode="livesum")
LARGEST = Gauge("largest", "Requests of the busiest worker.", multiprocess_mode="max")


def metrics():
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


@RUNNING.track_inprogress()
def work():
    own.work()
    SECONDS.observe(0.25)
    LARGEST.inc()
    return b"ok\n", "text/plain"


def app(environ, start_response):
    body, kind = metrics() if environ["PATH_INFO"] == "/metrics" else work()
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]

"""litestar's own plugin, as its documentation has it, with exemplars."""

import own
from litestar import Litestar, get
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController


class Metrics(PrometheusController):
    path = "/metrics"


class OpenMetrics(PrometheusController):
    path = "/openmetrics"
    openmetrics_format = True


@get("/work", sync_to_thread=False)
def work() -> str:
    own.work()
    return "ok"


prometheus_config = PrometheusConfig(exemplars=lambda request: {"trace_id": "abc"})
app = Litestar([work, Metrics, OpenMetrics], middleware=[prometheus_config.middleware])

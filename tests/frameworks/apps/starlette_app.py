"""starlette_exporter, as its README has it, with exemplars."""

import own
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette_exporter import PrometheusMiddleware, handle_metrics, handle_openmetrics

shop = Starlette()
shop.add_middleware(PrometheusMiddleware, exemplars=lambda: {"trace_id": "abc"})
shop.add_route("/metrics", handle_metrics)
shop.add_route("/openmetrics", handle_openmetrics)


def work(request):
    own.work()
    return PlainTextResponse("ok")


shop.add_route("/work", work)
app = own.AsgiPid(shop)

"""starlette_exporter, as its README has it, with exemplars."""

import own
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette_exporter import PrometheusMiddleware, handle_metrics, handle_openmetrics

app = Starlette()
app.add_middleware(PrometheusMiddleware, exemplars=lambda: {"trace_id": "abc"})
app.add_route("/metrics", handle_metrics)
app.add_route("/openmetrics", handle_openmetrics)


def work(request):
    own.work()
    return PlainTextResponse("ok")


app.add_route("/work", work)

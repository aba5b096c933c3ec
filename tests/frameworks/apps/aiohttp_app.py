"""aiohttp-prometheus-exporter, as its README has it."""

import own
from aiohttp import web
from aiohttp_prometheus_exporter.handler import metrics
from aiohttp_prometheus_exporter.middleware import prometheus_middleware_factory


async def work(request):
    own.work()
    return web.Response(text="ok")


app = web.Application()
app.middlewares.append(prometheus_middleware_factory())
app.router.add_get("/work", work)
app.router.add_get("/metrics", metrics())

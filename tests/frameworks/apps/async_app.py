"""prometheus-async in an aiohttp application, as its documentation has it."""

import own
from aiohttp import web
from prometheus_async.aio import count_exceptions, time, track_inprogress
from prometheus_async.aio.web import server_stats
from prometheus_client import Counter, Gauge, Histogram

REQ_TIME = Histogram("req_time_seconds", "time spent in requests")
FAILED = Counter("req_failed", "requests that failed")
IN_PROGRESS = Gauge("req_in_progress", "requests now", multiprocess_mode="livesum")


@time(REQ_TIME)
@count_exceptions(FAILED)
@track_inprogress(IN_PROGRESS)
async def work(request):
    own.work()
    return web.Response(text="ok")


app = web.Application()
app.router.add_get("/work", work)
app.router.add_get("/metrics", server_stats)

"""prometheus-fastapi-instrumentator, as its README has it, with the requests in progress."""

import own
from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

app = FastAPI()


@app.get("/work")
def work():
    own.work()
    return "ok"


Instrumentator(should_instrument_requests_inprogress=True, inprogress_labels=True).instrument(
    app
).expose(app)

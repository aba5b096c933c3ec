"""prometheus_flask_exporter under gunicorn, as its README has it for multi-process applications."""

import own
from flask import Flask
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

app = Flask(__name__)
metrics = GunicornInternalPrometheusMetrics(app)
metrics.info("app_info", "Application info", version="1.0.3")


@app.route("/work")
@metrics.counter("by_path", "Requests by path.", labels={"path": lambda: "work"})
def work():
    own.work()
    return "ok"

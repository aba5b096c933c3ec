"""prometheus_flask_exporter, as its README has it."""

import own
from flask import Flask
from prometheus_flask_exporter import PrometheusMetrics

app = Flask(__name__)
metrics = PrometheusMetrics(app)
metrics.info("app_info", "Application info", version="1.0.3")


@app.route("/work")
@metrics.counter("by_path", "Requests by path.", labels={"path": lambda: "work"})
def work():
    own.work()
    return "ok"

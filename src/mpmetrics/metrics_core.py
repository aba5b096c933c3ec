"""prometheus_client.metrics_core, its own."""

from prometheus_client.metrics_core import *  # noqa: F403

"""prometheus_client.openmetrics.parser, its own."""

from prometheus_client.openmetrics.parser import *  # noqa: F403

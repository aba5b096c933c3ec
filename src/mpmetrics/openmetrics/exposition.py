"""prometheus_client.openmetrics.exposition, with our `generate_latest`."""

from prometheus_client.openmetrics.exposition import *  # noqa: F403

from ..exposition import generate_openmetrics as generate_latest

__all__ = ["generate_latest"]

"""prometheus_client.parser, its own."""

from prometheus_client.parser import *  # noqa: F403

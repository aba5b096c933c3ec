"""A process that has declared nothing, and doesn't know what is in the registry that it reads."""

from __future__ import annotations

import prometheus_client

import mpmetrics


def push(gateway: str) -> None:
    """All that is in the registry, and only a family of that name."""
    whole = mpmetrics.CollectorRegistry(name="batch")
    prometheus_client.push_to_gateway(gateway, "whole", whole)
    restricted = mpmetrics.CollectorRegistry(name="batch").restricted_registry(["crew_late_total"])
    prometheus_client.push_to_gateway(gateway, "restricted", restricted)

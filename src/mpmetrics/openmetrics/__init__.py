"""prometheus_client.openmetrics: `exposition` is ours, `parser` its own."""

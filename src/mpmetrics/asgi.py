"""prometheus_client.asgi, ours."""

from . import make_asgi_app as make_asgi_app

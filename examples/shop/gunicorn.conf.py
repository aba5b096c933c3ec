"""How gunicorn serves the shop: `gunicorn -c examples/shop/gunicorn.conf.py`, from any folder."""

from pathlib import Path

wsgi_app = "shop.app:app"
chdir = str(Path(__file__).resolve().parent.parent)
bind = "127.0.0.1:8000"
workers = 4
threads = 2
keepalive = 30

# The master imports the shop and forks its workers, which so inherit the store.
preload_app = True

# The demo and the tests may run side by side; gunicorn's control socket has one path for a user.
control_socket_disable = True

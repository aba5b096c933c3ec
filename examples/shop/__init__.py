"""A small shop served by several processes: `app` is the program, `gunicorn.conf.py` serves it."""

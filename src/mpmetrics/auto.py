"""`import mpmetrics.auto`: `mpmetrics.patch()` as an import, for Python's -I, -E and -S."""

from . import patch

patch()

"""What the library logs."""

from __future__ import annotations

import logging


class Lines(logging.Handler):
    """The lines from now on."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        logging.getLogger("mpmetrics").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())

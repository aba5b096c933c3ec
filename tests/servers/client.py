"""Asks a Celery worker: a program of its own, which says on each line what it was answered.

A line of input names a task and how many of them; a line of output is a list in JSON.
"""

import json
import sys

import tasks


def main() -> None:
    for line in sys.stdin:
        name, count = line.split()
        asked = [getattr(tasks, name).delay() for _ in range(int(count))]
        print(
            json.dumps(
                [each.get(timeout=40, interval=0.01, propagate=False) for each in asked],
                default=repr,
            ),
            flush=True,
        )


main()

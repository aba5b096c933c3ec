"""Leaks: each public callable, called many times in a fresh interpreter, leaves nothing behind.

An entry of CALLS is a few lines of Python: what is before the line `---` is run once, what follows
in a loop. The test fails if a public callable has no entry.
"""

import inspect
import subprocess
import sys
import textwrap

import pytest

import mpmetrics

CLASSES = ("Counter", "Gauge", "Summary", "Histogram", "Info", "Enum")

HARNESS = """
import gc, os, sys
import mpmetrics, prometheus_client
from mpmetrics import *
r = mpmetrics.CollectorRegistry()
keeper = mpmetrics.Gauge("keeper", "h", registry=r)

{before}

def turn():
{loop}

def run(times):
    for _ in range(times):
        turn()
    gc.collect()

def numbers():
    store = keeper._family.store.statistics()
    return [store["used_bytes"], store["series"], store["blocks"], len(os.listdir("/proc/self/fd"))]

def growth():
    before = sys.getallocatedblocks()
    run({times})
    return sys.getallocatedblocks() - before

run(min({times}, 20))
store = numbers()
print(min(growth() for _ in range(3)))  # a leak is in each; the interpreter's caches in some
assert store == numbers(), (store, numbers())
"""

TIMES = 400
# Blocks that Python itself may keep more of: caches, free lists.  One a call would be TIMES.
FEW = 60

METRIC = """
m = {class_}("m", "h", registry=r{options})
p = {class_}("p", "h", ["a"], registry=r{options})
---
"""

CALLS = {
    "CollectorRegistry": "---\nx = CollectorRegistry()\nCollectorRegistry(name='named')",
    "Metric": "---\nMetric('m', 'h', 'gauge')",
    "StoreError": "---\nStoreError(2, 'x')",
    "StoreLayoutError": "---\nStoreLayoutError(2, 'x')",
    "StoreCollector": "---\nx = CollectorRegistry()\nStoreCollector(registry=x)\nlist(x.collect())",
    "StoreCollector.collect": "c = StoreCollector(registry=None)\n---\nlist(c.collect())",
    "StoreCollector.describe": "c = StoreCollector(registry=None)\n---\nlist(c.describe())",
    "generate_latest": """
c = Counter('c', 'h', ['a'], registry=r)
c.labels('x')
---
generate_latest(r)
""",
    "disable_created_metrics": "---\ndisable_created_metrics()\ngenerate_latest(r)",
    "enable_created_metrics": "---\nenable_created_metrics()\ngenerate_latest(r)",
    "make_wsgi_app": """
from wsgiref.util import setup_testing_defaults
app = make_wsgi_app(r)
---
environ = {"QUERY_STRING": "", "HTTP_ACCEPT_ENCODING": "gzip"}
setup_testing_defaults(environ)
b"".join(make_wsgi_app(r)(environ, lambda status, headers: None))
b"".join(app(environ, lambda status, headers: None))
""",
    "make_asgi_app": """
import asyncio
loop = asyncio.new_event_loop()
async def receive(): return {"type": "http.request"}
async def send(message): pass
scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
---
loop.run_until_complete(make_asgi_app(r)(scope, receive, send))
""",
    "start_http_server": """
---
server, thread = start_http_server(0, addr="127.0.0.1", registry=r)
server.shutdown(), server.server_close(), thread.join()
""",
    "start_wsgi_server": """
---
server, thread = start_wsgi_server(0, addr="127.0.0.1", registry=r)
server.shutdown(), server.server_close(), thread.join()
""",
    "Store": """
---
Store(keeper._family.store.path)
try:
    Store("/nonexistent/store")
except StoreError:
    pass
""",
    "StoreStatistics": "s = Store(keeper._family.store.path)\n---\ns.statistics()",
    "patch": "---\nwith patch(): pass",
    "Patch": "---\nPatch().undo()",
    "MetricsHandler": "---\nMetricsHandler.factory(r)",
}
# What takes so long that fewer must do: a server looks twice a second whether it is to end.
FEWER = {"start_http_server": 2, "start_wsgi_server": 2, "make_asgi_app": 100}
# The same function by another name.
SAME = (
    {"start_wsgi_server"} if mpmetrics.start_wsgi_server is mpmetrics.start_http_server else set()
)

CONSTRUCTED = """
---
x = CollectorRegistry()
m = {class_}("m", "h", ["a"], registry=x{options})
m.labels("v")
{class_}("n", "h", registry=x{options})
{class_}("n", "h", registry=None{options})
n = {class_}("again", "h", registry=r{options})
r.unregister(n)
try:
    {class_}("bad", "h", ["__a"], registry=x{options})
except ValueError:
    pass
"""

METHODS = {
    "labels": "p.labels('v')\np.labels(a='v')\np.labels(object.__name__)",
    "remove": "p.labels('v')\np.remove('v')",
    "remove_by_labels": "p.labels('v')\np.remove_by_labels({'a': 'v'})",
    "clear": "p.labels('v')\np.clear()",
    "collect": "p.labels('v')\nm.collect()[0].samples, p.collect()[0].samples",
    "describe": "m.describe()",
    "inc": "m.inc()\nm.inc(2.5)\np.labels('v').inc()\np.labels('w').inc()\np.remove('w')",
    "dec": "m.dec()\nm.dec(2.5)\np.labels('v').dec()",
    "set": "m.set(3)\np.labels('v').set(4.5)",
    "set_to_current_time": "m.set_to_current_time()",
    "observe": "m.observe(3)\np.labels('v').observe(0.5)\np.labels('w').observe(1)\np.remove('w')",
    "time": """
with m.time() as t: pass
t.duration
with p.time() as t: t.labels('v')
@m.time()
def f(): pass
f()
""",
    "track_inprogress": """
with m.track_inprogress(): pass
@m.track_inprogress()
def f(): pass
f()
""",
    "count_exceptions": """
try:
    with m.count_exceptions(): 1 / 0
except ZeroDivisionError: pass
""",
    "info": "m.info({'k': 'v'})\np.labels('v').info({'k': 'w'})\np.remove('v')",
    "state": "m.state('b')\np.labels('v').state('a')",
    "reset": "m.inc()\nm.reset()\np.labels('v').reset()",
    "set_function": "m.set_function(lambda: 1)\ngenerate_latest(r)",
}


def public_callables():
    """Every public callable of our own, and every public method of a metric class."""
    for name, value in vars(mpmetrics).items():
        ours = callable(value) and value.__module__.split(".")[0] == mpmetrics.__name__
        if ours and not name.startswith("_") and name not in CLASSES:
            yield name
    for class_ in CLASSES:
        yield class_
        for name, _ in inspect.getmembers(getattr(mpmetrics, class_), callable):
            if not name.startswith("_"):
                yield f"{class_}.{name}"


def lines_for(name):
    """Before and in the loop; None if nobody has written them."""
    class_, _, method = name.partition(".")
    options = ", states=['a', 'b']" if class_ == "Enum" else ""
    if name in CALLS:
        lines = CALLS[name]
    elif name in CLASSES:
        lines = CONSTRUCTED.format(class_=class_, options=options)
    elif class_ in CLASSES and method in METHODS:
        lines = METRIC.format(class_=class_, options=options) + METHODS[method]
    else:
        return None
    return lines.split("---\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(public_callables()) - SAME))
def test_leaks_nothing(name):
    """Called again and again it leaves no Python objects, nothing in the store, no descriptor."""
    lines = lines_for(name)
    assert lines is not None, f"{name} is public: give it an entry in CALLS or METHODS"
    before, loop = lines
    code = HARNESS.format(
        before=before, loop=textwrap.indent(loop, "    "), times=FEWER.get(name, TIMES)
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert not done.returncode, done.stderr
    assert int(done.stdout) < FEW

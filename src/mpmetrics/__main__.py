"""The command line: `mpmetrics`, or `python -m mpmetrics`."""

from __future__ import annotations

import sys

if sys.platform != "linux":
    sys.exit("mpmetrics: shared memory needs Linux")

import argparse
import contextlib
import errno
import grp
import os
import pwd
import shlex
import signal
import time
from collections.abc import Sequence
from typing import Any

from . import catalog, listening, reader, runner, store, storefile
from ._native import LAYOUT, Store, StoreError, survive_truncation, truncated_pages
from .endpoints import start_http_server
from .exposition import render
from .negotiation import Encoding, Format

_TRIES = 10  # of finding a store either used or left
_FORMATS = {"text": Format.TEXT, "openmetrics": Format.OPENMETRICS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say; returns the status to exit with."""
    options = parser().parse_args(arguments)
    try:
        survive_truncation()
        status: int = options.do(options)
    except OSError as error:
        print(f"mpmetrics: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    """What reads the arguments; each command's function is `do`."""
    whole = argparse.ArgumentParser(prog="mpmetrics", description="Metrics of several processes.")
    whole.add_argument("--version", action=_Version, help="say the version, and that of stores")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a command, all its processes with one store")
    run.add_argument("--store", metavar="PATH", help="the store; else one is made up for the run")
    run.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=_address,
        help="serve /metrics there; else MPMETRICS_LISTEN, if it is set",
    )
    run.add_argument("--user", metavar="U", type=_user, help="whom the server runs its workers as")
    run.add_argument("--group", metavar="G", type=_group, help="who may use the store, too")
    run.add_argument(
        "--no-patch", action="store_true", help="leave prometheus_client's classes as they are"
    )
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    run.set_defaults(do=_run)

    serve = commands.add_parser("serve", help="serve a store's metrics, read only")
    serve.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=_address,
        help="else MPMETRICS_LISTEN, or 127.0.0.1:9090",
    )
    _add_path(serve)
    serve.set_defaults(do=_serve)

    dump = commands.add_parser("dump", help="one scrape to standard output, also post mortem")
    dump.add_argument("--format", choices=_FORMATS, default="text")
    dump.add_argument(
        "--by-process", action="store_true", help="what each process counted, and its predecessors"
    )
    _add_path(dump)
    dump.set_defaults(do=_dump)

    check = commands.add_parser("check", help="verify a store, and say what is in it")
    _add_path(check)
    check.set_defaults(do=_check)

    remove = commands.add_parser("remove", help="remove a store that no process has")
    _add_path(remove)
    remove.set_defaults(do=_remove)

    list_ = commands.add_parser("list", help="the stores made up for programs of this user")
    list_.set_defaults(do=_list)
    return whole


class _Version(argparse.Action):
    """Finds it out only if asked: what is installed stands in files."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"mpmetrics {version('mpmetrics')}, stores of layout {LAYOUT}")
        parser.exit()


def _add_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", metavar="PATH", help="else MPMETRICS_STORE")


def _address(text: str) -> tuple[str, int]:
    try:
        return listening.address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _user(text: str) -> tuple[int, int]:
    """A user's name or number, as that and the group's."""
    try:
        entry = pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except KeyError:
        if text.isdecimal():  # containers run as users that nobody has told them of
            return int(text), int(text)
        raise argparse.ArgumentTypeError(f"there is no user {text!r}") from None
    return entry.pw_uid, entry.pw_gid


def _group(text: str) -> int:
    try:
        return int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no group {text!r}") from None


def _path(options: argparse.Namespace) -> str:
    path = options.path or os.environ.get("MPMETRICS_STORE")
    if not path:
        raise StoreError("name a PATH, or set MPMETRICS_STORE")
    return str(path)


def _listen(options: argparse.Namespace, path: str) -> tuple[str, int] | None:
    given: tuple[str, int] | None = options.listen
    try:
        return given or listening.address_for(path)
    except ValueError as error:
        raise StoreError(str(error)) from None


# ---- the commands --------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise StoreError("run what? mpmetrics run [OPTIONS] -- COMMAND ...")
    named = options.store or os.environ.get("MPMETRICS_STORE")
    listen = _listen(options, os.path.abspath(named) if named else "")
    user, group = options.user or (None, None)
    with runner.acting_as(user, group if options.group is None else options.group):
        joined = store.join_named(named) if named else store.make_up(options.group)
        if joined.path is None:
            raise StoreError("no folder on tmpfs to make a store in; name one with --store PATH")
        if named and options.group is not None:
            storefile.share_with(joined.path, options.group)
    path = os.path.abspath(joined.path)
    return runner.run(
        command,
        joined,
        path,
        made_up=not named,
        listen=listen,
        patch=not options.no_patch,
        user=user,
    )


def _serve(options: argparse.Namespace) -> int:
    path = _path(options)
    with contextlib.suppress(FileNotFoundError):  # the application may start later
        reader.open_read_only(path)  # says why, if it can't
    host, port = _listen(options, os.path.abspath(path)) or ("127.0.0.1", 9090)
    # Blocked and awaited: process 1 of a container gets no signal that it has no handler for. Not
    # what was ignored from the start; and before the server, whose threads inherit the mask.
    ends = {n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) != signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server, _ = start_http_server(port, host, reader.StoreReader(path))
    where = f"[{host}]" if ":" in host else host
    print(f"serving {path} on http://{where}:{server.server_port}/metrics", flush=True)
    return 128 + signal.sigwait(ends)


def _dump(options: argparse.Namespace) -> int:
    view = reader.ShardView if options.by_process else reader.StoreView
    page = render(view(reader.look(_path(options))), Encoding(_FORMATS[options.format]))
    sys.stdout.buffer.write(page)
    return 0


def _check(options: argparse.Namespace) -> int:
    path = _path(options)
    joined = _join_or_copy(path)
    numbers = joined.statistics()
    broken = joined.check()
    rows = catalog.of(joined)
    shown, hidden = rows.all_shown(), rows.hidden()
    if truncated_pages():
        raise StoreError(f"{path} was truncated while it was read")
    born = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(numbers["born"]))
    print(f"{path}: {'whole' if broken is None else 'DAMAGED: ' + broken}")
    print(f"  made {born}, {numbers['file_bytes']:,} bytes, {numbers['used_bytes']:,} used")
    print(f"  {numbers['processes']} living processes, {numbers['free_shards']} free shards")
    print(f"  {len(shown)} families shown, {numbers['series']:,} series")
    for row in hidden:
        newer = rows.winner(row.id)
        instead = "another" if newer is None else newer.shape
        print(f"  hidden: {row.shape}; shown: {instead}")
    return 0 if broken is None else 1


def _join_or_copy(path: str) -> Store:
    """The store, to be locked and walked; post mortem a copy, since the file is not to change."""
    for _ in range(_TRIES):
        found = storefile.as_left(path) or storefile.join_existing(path)
        if found is not None:
            return found
    raise StoreError(errno.EBUSY, "the store's processes come and go", path)


def _remove(options: argparse.Namespace) -> int:
    path = _path(options)
    with storefile.opened(path) as fd:  # says why, if it is no file of ours
        if not storefile.is_store(fd):
            raise StoreError(f"{path} is no store, but some other file: it stays")
    storefile.remove_if_unused(path)
    if os.path.exists(path):
        raise StoreError(f"{path} is in use; stop its processes first")
    return 0


def _list(options: argparse.Namespace) -> int:
    for path in store.made_up_paths():
        try:
            numbers = _numbers(path)
        except OSError as error:
            print(f"{shlex.quote(path)}  {error}")
            continue
        born = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(numbers["born"]))
        print(f"{shlex.quote(path)}  since {born}  {numbers['processes']} processes")
    return 0


def _numbers(path: str) -> dict[str, Any]:
    lost = truncated_pages()
    numbers = reader.open_read_only(path).statistics()
    if truncated_pages() != lost:
        raise StoreError("it was truncated while it was read")
    return numbers


if __name__ == "__main__":
    sys.exit(main())

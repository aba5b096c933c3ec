"""
Try every interleaving, every kill and every store order of a small program.

A process is a generator function that yields operations on shared 64-bit words:

    def writer():
        n = yield load_acquire("n")
        yield store_release("n", n + 1)

`explore` runs all processes in every order, breadth first, so that a counterexample is a shortest
one.  It remembers each state (words, places in the programs, store buffers, kills left), so loops
that wait are fine and the search is exhaustive.

The memory is multi-copy atomic and otherwise as weak as C11 on ARMv8 and x86-64 together:

* A store goes into its process's buffer and becomes visible later, to all others at once.
  Stores to one word stay in order.  A **release** store waits for all stores before it, but
  nothing waits for it: a *relaxed* store may overtake earlier stores, release or not.
* Loads are performed in program order (every load of a shared word is an acquire load) and see
  the own buffer first.  They may overtake earlier stores, also the store of a read-modify-write
  (stlxr, then ldapr).  Only a **seq_cst** load waits for the read-modify-writes before it; for
  release stores it doesn't either (x86-64).
* Read-modify-writes are seq_cst: each waits for the one before it, its store is a release store,
  and nobody comes between its load and its store.
* A **kill** stops a process between any two operations; what stands in its buffer becomes visible
  all the same.  It is seen to be dead (`alive`, `wait_dead`) only after that: the kernel drops
  a lease when the address space goes.  A process that has finished counts as dead.

`sc=True` makes each store visible at once.  That loses nothing where a single process at a time
stores, with release stores only, and the others only load: the buffer would merely delay it.

Rules for programs: locals are hashable; a yield stands alone to the right of `=`; a `for` runs
over distinct values.  Then a suspended generator is its line and locals, and states can be told
apart.  An `assert` that fails in a program, in `invariant` or in `final` is a counterexample.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

__all__ = [
    "Op",
    "Program",
    "Result",
    "Steps",
    "alive",
    "cas",
    "choose",
    "exchange",
    "explore",
    "fetch_add",
    "judge",
    "load_acquire",
    "load_seq_cst",
    "snapshot",
    "store_relaxed",
    "store_release",
    "wait_dead",
]


class Op(NamedTuple):
    """One operation; `ghost` words are counted up in the same step, for the proof only."""

    kind: str
    word: str = ""
    value: int = 0
    expected: int | None = None
    words: tuple[str, ...] = ()
    ghost: tuple[str, int] | None = None

    def counted(self, word: str, by: int = 1) -> Op:
        return self._replace(ghost=(word, by))

    def __str__(self) -> str:
        value = "" if "load" in self.kind or self.words else f" {self.value}"
        return f"{self.kind} {self.word or ' '.join(self.words)}{value}"


Steps = Generator[Op, Any, Any]
Program = Callable[[], Steps]


def load_acquire(word: str) -> Op:
    return Op("load", word)


def load_seq_cst(word: str) -> Op:
    return Op("load_seq_cst", word)


def store_release(word: str, value: int) -> Op:
    return Op("store", word, value)


def store_relaxed(word: str, value: int) -> Op:
    return Op("store_relaxed", word, value)


def exchange(word: str, value: int) -> Op:
    """Gives the old value."""
    return Op("exchange", word, value)


def fetch_add(word: str, value: int) -> Op:
    """Gives the old value."""
    return Op("fetch_add", word, value)


def cas(word: str, expected: int, value: int) -> Op:
    """Gives True if the word was as expected."""
    return Op("cas", word, value, expected)


def snapshot(*words: str) -> Op:
    """For the proof only: what everybody can see at this instant, as a tuple."""
    return Op("snapshot", words=words)


def choose(n: int) -> Op:
    """Gives each of 0 … n-1, each in a history of its own."""
    return Op("choose", value=n)


def alive(process: str) -> Op:
    """Gives False once the process is dead and all its stores are visible."""
    return Op("alive", process)


def wait_dead(process: str) -> Op:
    """Goes on once the process is dead and all its stores are visible."""
    return Op("wait_dead", process)


class Result(NamedTuple):
    """What the search found; `error` and `trace` are empty if there is no counterexample."""

    states: int
    error: str = ""
    trace: tuple[str, ...] = ()
    steps: int = 0  # between the states

    def __str__(self) -> str:
        return "\n".join((f"{self.states} states: {self.error or 'holds'}", *self.trace))


class _Failed(Exception):
    """An assertion of the model doesn't hold."""


def _first_line(e: AssertionError) -> str:
    """The message without what pytest adds to it."""
    return str(e).partition("\n")[0]


class _Entry(NamedTuple):
    """A store that is issued and not yet visible."""

    word: int
    value: int
    release: bool
    exclusive: bool  # of a read-modify-write: nobody else stores to the word before it


_DEAD = -1


class _Automaton:
    """
    A program as a table of states, made as the search reaches them.

    A generator can't be copied, so each state keeps one history of results that leads to it and is
    reached again by running the program anew; each transition is run once only.
    """

    def __init__(self, name: str, program: Program) -> None:
        self.name = name
        self.ops: list[Op | None] = []  # by state; None: finished
        self._program = program
        self._histories: list[tuple[Any, ...]] = []
        self._numbers: dict[Hashable, int] = {}
        self._next: dict[tuple[int, Any], int] = {}
        self.start = self._run(())

    def step(self, state: int, result: Any) -> int:
        key = (state, result)
        if key not in self._next:
            self._next[key] = self._run((*self._histories[state], result))
        return self._next[key]

    def _run(self, history: tuple[Any, ...]) -> int:
        steps = self._program()
        op: Op | None
        try:
            op = next(steps)
            for result in history:
                op = steps.send(result)
        except StopIteration:
            op = None
        except AssertionError as e:
            raise _Failed(f"{self.name}: {_first_line(e)}") from None
        key = (op, *_frames(steps))
        if key not in self._numbers:
            self._numbers[key] = len(self.ops)
            self.ops.append(op)
            self._histories.append(history)
        return self._numbers[key]


def _frames(steps: Any) -> list[Hashable]:
    """Where a suspended generator, and the ones it yields from, stand."""
    frames: list[Hashable] = []
    while steps is not None and steps.gi_frame is not None:
        frame = steps.gi_frame
        shared = frame.f_code.co_freevars  # the closure's: may be a test's notebook
        values = frame.f_locals.items()
        places = tuple((n, id(v) if n in shared and not _is_hashable(v) else v) for n, v in values)
        frames.append((frame.f_code, frame.f_lasti, places))
        steps = steps.gi_yieldfrom
    return frames


def _is_hashable(value: Any) -> bool:
    return getattr(value, "__hash__", None) is not None


# What was done by whom, to be shown if it leads to a counterexample, and the state after it or
# the assertion that failed.
_Label = tuple[str, object, object]
_Step = tuple[_Label, "_State | str"]


class _State(NamedTuple):
    memory: tuple[int, ...]
    places: tuple[int, ...]
    buffers: tuple[tuple[_Entry, ...], ...]
    kills: int


def _put(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])


class _Search:
    def __init__(
        self,
        words: Mapping[str, int],
        processes: Mapping[str, Program],
        kills: int,
        killable: Iterable[str] | None,
        sc: bool,
    ) -> None:
        self.names = tuple(words)
        self.index = {word: i for i, word in enumerate(words)}
        self.process = {name: p for p, name in enumerate(processes)}
        self.killable = {self.process[p] for p in (processes if killable is None else killable)}
        self.programs = [_Automaton(name, program) for name, program in processes.items()]
        self.sc = sc
        count = len(self.programs)
        places = tuple(program.start for program in self.programs)
        self.start = _State(tuple(words.values()), places, ((),) * count, kills)

    def next_op(self, state: _State, p: int) -> Op | None:
        return None if state.places[p] == _DEAD else self.programs[p].ops[state.places[p]]

    def successors(self, state: _State) -> list[_Step]:
        """Every step that can come next, by name."""
        running = [p for p in range(len(self.programs)) if self.next_op(state, p) is not None]
        for p in running:
            # A step that nobody sees commutes with all others, but for the kill of its process.
            op = self.next_op(state, p)
            if (
                op
                and not op.ghost
                and (op.kind == "choose" or ("store" in op.kind and not self.sc))
            ):
                return [*self._kill(state, p), *self._perform(state, p, op)]
        steps: list[_Step] = []
        for p in running:
            op = self.next_op(state, p)
            assert op is not None
            steps += [*self._kill(state, p), *self._perform(state, p, op)]
        for p, buffer in enumerate(state.buffers):
            if buffer:
                steps += self._drain(state, p)
        return steps

    def _kill(self, state: _State, p: int) -> list[_Step]:
        if state.kills == 0 or p not in self.killable:
            return []
        dead = state._replace(places=_put(state.places, p, _DEAD), kills=state.kills - 1)
        return [((self.programs[p].name, "KILLED", None), dead)]

    def _drain(self, state: _State, p: int) -> list[_Step]:
        """The buffered stores that may become visible now."""
        steps: list[_Step] = []
        buffer = state.buffers[p]
        for i, entry in enumerate(buffer):
            before = buffer[:i]
            if entry.release and before:
                continue
            if any(e.word == entry.word for e in before) or self._reserved(state, p, entry.word):
                continue
            seen = state._replace(
                memory=_put(state.memory, entry.word, entry.value),
                buffers=_put(state.buffers, p, (*before, *buffer[i + 1 :])),
            )
            text = f"  visible {self.names[entry.word]} {entry.value}"
            steps.append(((self.programs[p].name, text, None), seen))
        return steps

    def _reserved(self, state: _State, p: int, word: int) -> bool:
        return any(
            e.exclusive and e.word == word
            for q, buffer in enumerate(state.buffers)
            if q != p
            for e in buffer
        )

    def _gone(self, state: _State, name: str) -> bool:
        p = self.process[name]
        return self.next_op(state, p) is None and not state.buffers[p]

    def _perform(self, state: _State, p: int, op: Op) -> list[_Step]:
        """The next operation of one process: none if it has to wait, several for a choice."""
        buffer, memory = state.buffers[p], state.memory
        results: Iterable[Any] = (None,)
        if op.kind == "choose":
            results = range(op.value)
        elif op.kind == "snapshot":
            results = (tuple(memory[self.index[word]] for word in op.words),)
        elif op.kind == "alive":
            results = (not self._gone(state, op.word),)
        elif op.kind == "wait_dead":
            if not self._gone(state, op.word):
                return []
        else:
            word = self.index[op.word]
            if op.kind in ("store", "store_relaxed"):
                if self.sc:
                    memory = _put(memory, word, op.value)
                else:
                    buffer = (*buffer, _Entry(word, op.value, op.kind == "store", False))
            else:
                if op.kind != "load" and any(entry.exclusive for entry in buffer):
                    return []
                own = [entry.value for entry in buffer if entry.word == word]
                old = own[-1] if own else memory[word]
                results = (old,)
                if not op.kind.startswith("load"):
                    if own or self._reserved(state, p, word):
                        return []
                    new = old + op.value if op.kind == "fetch_add" else op.value
                    if op.kind == "cas":
                        results = (old == op.expected,)
                    if op.kind != "cas" or old == op.expected:
                        if self.sc:
                            memory = _put(memory, word, new)
                        else:
                            buffer = (*buffer, _Entry(word, new, True, True))
        if op.ghost:
            ghost = self.index[op.ghost[0]]
            memory = _put(memory, ghost, memory[ghost] + op.ghost[1])
        buffers = _put(state.buffers, p, buffer)

        steps: list[_Step] = []
        for result in results:
            label = (self.programs[p].name, op, result)
            try:
                place = self.programs[p].step(state.places[p], result)
            except _Failed as e:
                steps.append((label, str(e)))
            else:
                places = _put(state.places, p, place)
                steps.append((label, _State(memory, places, buffers, state.kills)))
        return steps


def explore(
    words: Mapping[str, int],
    processes: Mapping[str, Program],
    *,
    kills: int = 0,
    killable: Iterable[str] | None = None,
    invariant: Callable[[dict[str, int]], None] | None = None,
    final: Callable[[dict[str, int]], None] | None = None,
    sc: bool = False,
    ends: bool = False,
    bound: int = 2_000_000,
) -> Result:
    """
    Search all histories of `processes` over `words`, with at most `kills` kills in each.

    `invariant` is asserted of every state, `final` of those where all have ended and all is
    visible.  A state where nobody can go on before that is a counterexample too; with `ends` also
    one from which no end can be reached any more, as where somebody waits in a loop for ever.
    """
    search = _Search(words, processes, kills, killable, sc)
    came_from: dict[_State, tuple[_State, _Label] | None] = {search.start: None}
    queue = deque([search.start])
    comes_from: dict[_State, list[_State]] = {}  # all the ways, if `ends` needs them
    taken = 0
    ends_at: list[_State] = []

    def failed(state: _State, error: str, *last: _Label) -> Result:
        labels = list(last)
        while (step := came_from[state]) is not None:
            state = step[0]
            labels.append(step[1])
        trace = [
            f"{name}: {what}" + ("" if result is None else f" -> {result}")
            for name, what, result in reversed(labels)
        ]
        return Result(len(came_from), error, tuple(trace), taken)

    while queue:
        state = queue.popleft()
        steps = search.successors(state)
        ended = all(search.next_op(state, p) is None for p in range(len(search.programs)))
        if not steps and ended:
            ends_at.append(state)
        try:
            if invariant is not None:
                invariant(dict(zip(search.names, state.memory, strict=True)))
            if not steps and not ended and not any(state.buffers):
                return failed(state, "nobody can go on")
            if not steps and ended and final is not None:
                final(dict(zip(search.names, state.memory, strict=True)))
        except AssertionError as e:
            return failed(state, _first_line(e))
        taken += len(steps)
        for label, after in steps:
            if isinstance(after, str):
                return failed(state, after, label)
            if ends:
                comes_from.setdefault(after, []).append(state)
            if after not in came_from:
                came_from[after] = (state, label)
                queue.append(after)
        assert len(came_from) < bound, f"more than {bound} states: make the model smaller"
    if ends:
        ending = set(ends_at)
        while ends_at:
            for before in comes_from.get(ends_at.pop(), ()):
                if before not in ending:
                    ending.add(before)
                    ends_at.append(before)
        for state in came_from:
            if state not in ending:
                return failed(state, "somebody waits for ever")
    return Result(len(came_from), steps=taken)


judged: list[tuple[Result, str | None]] = []


def judge(result: Result, mistake: str | None) -> None:
    """The protocol without mistake holds; a mistake has a counterexample (`pytest -s` shows it)."""
    judged.append((result, mistake))
    print(f"\n{mistake or 'correct'}: {result}")
    if mistake is None:
        assert not result.error, str(result)
    else:
        assert result.error, f"{mistake}: no counterexample in {result.states} states"

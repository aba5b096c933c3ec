"""
What our own C must never do, checked by reading it.

Each rule is a function from the text of a file to a list of complaints; a test applies it to
every file that it is about, and another to snippets that break it, so that no rule can rot into
one that finds nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parent.parent / "native"

Rule = Callable[[str], list[str]]


def files(*patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in NATIVE.glob(pattern)})


def is_module(path: Path) -> bool:
    return path.match("module*.[ch]")


ours = files("*.c", "*.h")
core = [path for path in ours if not is_module(path)]
everything = files("*.c", "*.h", "tests/*.c", "tests/*.h")


def every(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(NATIVE)))


# --- reading C ---------------------------------------------------------------------------------

TOKEN = re.compile(
    r"""(?P<comment> /\*.*?(?:\*/|\Z) | //(?:\\\n|[^\n])* )
      | (?P<string>  "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )""",
    re.DOTALL | re.VERBOSE,
)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)


def blank(text: str) -> str:
    """As many spaces, and the same lines, so that offsets stay true."""
    return re.sub(r"[^\n]", " ", text)


def strip(text: str, *, directives: bool = False) -> str:
    """The code alone: comments are blanked, and what stands between quotes."""

    def replace(token: re.Match[str]) -> str:
        if token["comment"]:
            return blank(token[0])
        return token[0][0] + blank(token[0][1:-1]) + token[0][-1]

    text = TOKEN.sub(replace, text)
    return DIRECTIVE.sub(lambda line: blank(line[0]), text) if directives else text


def line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def complaints(pattern: str, text: str, flags: int = 0) -> list[str]:
    """Where the pattern stands in the code."""
    code = strip(text)
    return [
        f"line {line(code, found.start())}: {found[0].strip()}"
        for found in re.finditer(pattern, code, flags)
    ]


def top_level(code: str) -> Iterator[tuple[int, str, str]]:
    """Each (offset, head, body) outside all braces; the body is empty after a declaration."""
    start, depth, opened = 0, 0, 0
    for match in re.finditer(r"[{};]", code):
        if match[0] == "{":
            # What extern "C" opens isn't a body.
            if depth == 0 and re.search(r'extern\s*"[^"]*"\s*$', code[start : match.start()]):
                start = match.end()
                continue
            if depth == 0:
                opened = match.start()
            depth += 1
        elif match[0] == "}":
            depth = max(0, depth - 1)
            head = code[start:opened]
            # A struct or an initialiser goes on to its semicolon, a function ends here.
            if depth == 0 and opened > start and head.rstrip().endswith(")"):
                yield start + leading(head), head.strip(), code[opened : match.end()]
                start = match.end()
            elif depth == 0 and opened < start:
                start = match.end()
        elif depth == 0:
            head = code[start : match.start()]
            yield start + leading(head), head.strip(), ""
            start = match.end()


def leading(text: str) -> int:
    return len(text) - len(text.lstrip())


# Attributes, of which the arguments may nest once more: __attribute__((format(printf, 1, 2))),
# and macros of them after the arguments.
ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|(?<=\))(?:\s+[A-Z_]+)+$")
FUNCTION = re.compile(r"^(?!typedef\b|_Static_assert\b)[\w\s*]+?\b(\w+)\s*\([^={}]*\)$", re.DOTALL)


def functions(code: str) -> Iterator[tuple[int, str, str]]:
    """Each (offset, name, body) of the functions that a file declares or defines."""
    for offset, head, body in top_level(code):
        found = FUNCTION.match(ATTRIBUTE.sub("", head).strip())
        if found:
            yield offset, found[1], body


# --- the rules ---------------------------------------------------------------------------------


def python_included(text: str) -> list[str]:
    # Comments only: the name of a file stands between quotes.
    code = TOKEN.sub(lambda token: blank(token[0]) if token["comment"] else token[0], text)
    return re.findall(r'^[ \t]*#[ \t]*include[ \t]*[<"][^>"]*\bPython\.h[>"]', code, re.MULTILINE)


def bare_atomics(text: str) -> list[str]:
    return complaints(r"\b(?:atomic_|__atomic_|__sync_|memory_order_)\w+", text)


def platform_conditions(text: str) -> list[str]:
    systems = r"linux|__linux|__linux__|__gnu_linux__|__APPLE__|__FreeBSD__|_WIN32"
    return complaints(rf"^[ \t]*#[ \t]*(?:el)?if(?:\\\n|.)*\b(?:{systems})\b", text, re.MULTILINE)


def locale_dependent(text: str) -> list[str]:
    return complaints(
        r"\b(?:\w*printf(?:_chk)?|\w*scanf|strto(?:d|f|ld)(?:_l)?|atof|setlocale|localeconv"
        r"|isalpha|isalnum|isspace|isprint|toupper|tolower)\s*\(",
        text,
    )


def float_formats(text: str) -> list[str]:
    return [
        f"line {line(text, token.start())}: {token[0]}"
        for token in TOKEN.finditer(text)
        if token["string"] and re.search(r"%[-+ #'*.\d]*[lL]?[aefgAEFG]", token[0])
    ]


def volatiles(text: str) -> list[str]:
    return complaints(r"\bvolatile\b", text)


TAG = re.compile(r"(?<![\w)\]])\[[a-z][a-z ,:;'/()-]{2,}\]")


def untagged(text: str) -> list[str]:
    """A tag is for what follows its comment, up to a blank line or the next comment."""
    ends = {token.end(): token[0] for token in TOKEN.finditer(text) if token["comment"]}
    code = strip(text, directives=True)
    missing = []
    previous, tagged = 0, False
    for offset, name, body in functions(code):
        before = len(text[:offset].rstrip())
        if before in ends:
            tagged = TAG.search(ends[before]) is not None
        elif before != previous or text.count("\n", before, offset) > 1:
            tagged = False
        previous = 0 if body else code.index(";", offset) + 1
        if not tagged:
            missing.append(f"line {line(text, offset)}: {name} has no [who may call] before it")
    return missing


ACQUIRE = re.compile(r"\bmpm_lock_acquire\s*\(")
RELEASE = re.compile(r"\bmpm_lock_release\s*\(")
# What may follow an acquire before one holds anything: repair after a death (C9), and leaving
# because it was refused.  `if (mpm_lock_acquire(...) != MPM_OK) return x;` is the same at once.
REFUSED = re.compile(
    r"""[^;{}]*;\s*
        (?:if\s*\(\s*\w+\s*==\s*MPM_DIED\s*\)\s*\{?[^;{}]*;\s*\}?\s*)?
        if\s*\(\s*\w+\s*!=\s*MPM_OK\s*\)\s*\{?\s*return\b[^;]*;
      | [^;{}]*\)\s*\{?\s*return\b[^;]*;""",
    re.VERBOSE,
)


def returns_while_locked(text: str) -> list[str]:
    code = strip(text, directives=True)
    wrong = []
    for offset, name, body in functions(code):
        offset = code.index(body, offset) if body else offset
        acquires = [found.end() for found in ACQUIRE.finditer(body)]
        for start, stop in itertools.pairwise([*acquires, len(body)]):
            releases = [found.start() for found in RELEASE.finditer(body, start, stop)]
            if not releases:
                continue  # a helper that hands the lock to its caller
            refused = REFUSED.match(body, start, stop)
            held = refused.end() if refused else start
            wrong += [
                f"line {line(code, offset + held + found.start())}: return in {name}, lock held"
                for found in re.finditer(r"\breturn\b", body[held : releases[-1]])
            ]
    return wrong


def too_long(text: str, most: int = 700) -> list[str]:
    lines = len(text.splitlines())
    return [f"{lines} lines, at most {most}"] if lines > most else []


# --- the rules, applied ------------------------------------------------------------------------


def test_the_core_is_found():
    """The rules below look at files, and would pass if there were none."""
    names = {path.name for path in ours}
    assert {"core.h", "atomic.h", "sys.c", "module.c"} <= names


@every(core)
def test_core_never_includes_python(path):
    """The core must not be able to run the garbage collector while it holds a shared lock."""
    assert [] == python_included(path.read_text())


@every([path for path in ours if path.name != "atomic.h"])
def test_memory_order_is_in_the_name(path):
    """Every atomic operation goes through atomic.h, whose names say the memory order."""
    assert [] == bare_atomics(path.read_text())


@every([path for path in ours if path.name != "sys.c"])
def test_only_sys_knows_the_platform(path):
    """What differs between systems is in sys.c, so that a port touches one file."""
    assert [] == platform_conditions(path.read_text())


@every([path for path in core if path.suffix == ".h" and path.name not in ("atomic.h", "sys.h")])
def test_every_prototype_says_who_may_call(path):
    """A reader learns from the headers alone who may call a function, and holding what."""
    assert [] == untagged(path.read_text())


@every(ours)
def test_one_exit_while_locked(path):
    """A return between acquire and release would leave the store locked by a living process."""
    assert [] == returns_while_locked(path.read_text())


@every([path for path in core if path.name != "sys.c"])
def test_nothing_depends_on_the_locale(path):
    """Floats and texts are the same bytes in every locale; printf's family also allocates."""
    assert [] == locale_dependent(path.read_text())


@every(core)
def test_no_float_is_formatted(path):
    """sys.c may use printf and scanf, for the integers of /proc; never for a float."""
    assert [] == float_formats(path.read_text())


@every(ours)
def test_no_volatile(path):
    """volatile orders nothing between processes; where it seems to help, an atomic is missing."""
    assert [] == volatiles(path.read_text())


@every(everything)
def test_files_stay_readable(path):
    """A file that one can't read in a sitting is two files."""
    most = 800 if path.name == "core.h" else 700  # the map of everything may be longer
    assert [] == too_long(path.read_text(), most)


# --- the rules, tested -------------------------------------------------------------------------

LOCKED = """
mpm_status
mpm_heap_alloc(mpm_heap *h, mpm_lease self)
{{
    mpm_status status = mpm_lock_acquire(&h->lock, self);
    {refused}
    if (h->top > h->limit) {{
        {full}
    }}
unlock:
    mpm_lock_release(&h->lock);
    return status;
}}
"""

BAD = [
    (python_included, "#include <Python.h>\n"),
    (python_included, '  #  include "Python.h"\n'),
    (python_included, "#include <python3.11/Python.h>\n"),
    (bare_atomics, "x = atomic_load(&p);"),
    (bare_atomics, "x = __atomic_load_n(&p, 0);"),
    (bare_atomics, "mpm_load(&p, memory_order_relaxed);"),
    (platform_conditions, "#ifdef __linux__\n#endif\n"),
    (platform_conditions, "#if defined(A) && \\\n    defined(__APPLE__)\n#endif\n"),
    (platform_conditions, "#if 0\n#elif defined(_WIN32)\n#endif\n"),
    (untagged, "void mpm_f(void);"),
    (untagged, "/* Adds, says sum[n & 1]. */\nvoid mpm_f(void);"),
    (untagged, "/* [any process] */\nvoid mpm_f(void);\n\nvoid mpm_g(int *p[2]);"),
    (untagged, "/* [any process] */\nvoid mpm_f(void);\n/* Likewise. */\nvoid mpm_g(void);"),
    (untagged, "/* [pure] */\nvoid mpm_f(void);\n#define X 1\nvoid mpm_g(void);"),
    (untagged, "/* [pure] */\n#define X 1\nvoid mpm_f(void);"),
    (untagged, "struct s {\n    int x;\n};\nmpm_status mpm_f(struct s *s)\n    MPM_NODISCARD;"),
    (untagged, "/* [pure] */ int x;\nstatic inline int\nmpm_f(void)\n{\n    return 1;\n}\n"),
    (untagged, "int mpm_f(const char *, ...) __attribute__((format(printf, 1, 2)));"),
    (untagged, 'extern "C" {\nvoid mpm_f(void);\n}\n'),
    (untagged, "typedef struct {\n    int a;\n} t;\nconst t *mpm_f(int (*call)(void *));"),
    (returns_while_locked, LOCKED.format(refused="", full="return MPM_ENOMEM;")),
    (
        returns_while_locked,
        LOCKED.format(
            refused="if (status != MPM_OK)\n        return status;", full="return MPM_ENOMEM;"
        ),
    ),
    (
        returns_while_locked,
        LOCKED.format(refused="", full="mpm_lock_release(&h->lock); return MPM_ENOMEM;"),
    ),
    (returns_while_locked, LOCKED.format(refused="h->n++; return status;", full="")),
    (locale_dependent, 'snprintf(text, 10, "%g", x);'),
    (locale_dependent, "x = strtod(text, NULL);"),
    (locale_dependent, "fprintf (stderr);"),
    (float_formats, 'snprintf(text, 10, "%-8.*g", 3, x);'),
    (float_formats, 'fscanf(f, "%d %lf", &n, &x);'),
    (volatiles, "volatile int x;"),
    (too_long, "\n" * 701),
]

GOOD = [
    (python_included, "/* #include <Python.h> */\n// #include <Python.h>\n"),
    (bare_atomics, "/* atomic_load */ mpm_load_acquire(&p); // atomic_store\n"),
    (bare_atomics, 'puts("\\" atomic_load"); _Atomic uint64_t x; is_atomic_load();'),
    (platform_conditions, "/*\n#ifdef __linux__\n*/\n#include <linux/falloc.h>\n"),
    (platform_conditions, "#ifdef __x86_64__\n#endif\n"),
    (untagged, "/* [any process] */\nvoid mpm_f(void);\n/* [lock held] */ int mpm_g(int x[]);"),
    (untagged, "/* [any process] */\nvoid mpm_f(void);\nvoid mpm_g(int x[]);\nint mpm_h(void);"),
    (untagged, "// [creator, once]\nvoid mpm_f(void);"),
    (untagged, "/*\n * [pure] Long.\n */\nstatic inline int\nmpm_f(void)\n{\n    return 1;\n}\n"),
    (untagged, "typedef int (*mpm_call)(void *);\nextern int x[3];\nint y = sizeof(int);"),
    (untagged, '_Static_assert(offsetof(s, x) == 16, "f(x); {");\nstruct s { int (*f)(void); };'),
    (untagged, "#define F(x) \\\n    g(x);\nenum { A, B = 2 };\ntypedef struct { int a; } t;"),
    (untagged, "/* [pure] */ __attribute__((cold)) void mpm_f(void);"),
    (
        untagged,
        '#ifdef __cplusplus\nextern "C" {\n#endif\n/* [any process] */ void mpm_f(void);\n}\n',
    ),
    (returns_while_locked, LOCKED.format(refused="", full="goto unlock;")),
    (
        returns_while_locked,
        LOCKED.format(
            refused="if (status != MPM_OK) return status;", full="/* return */ goto unlock;"
        ),
    ),
    (
        returns_while_locked,
        LOCKED.format(
            refused="if (status == MPM_DIED)\n        status = mpm_heap_repair(h);\n"
            "    if (status != MPM_OK) {\n        return status;\n    }",
            full='x = "return"; goto unlock;',
        ),
    ),
    (
        returns_while_locked,
        "void f(void)\n{ if (mpm_lock_acquire(l, s) != MPM_OK) return; g(); mpm_lock_release(l); }"
        "void g(void)\n{ return; }",
    ),
    (
        returns_while_locked,
        "int f(void)\n{ if (a) return 1; s = mpm_lock_acquire(l); mpm_lock_release(l);"
        " if (s) return 2; s = mpm_lock_acquire(l); mpm_lock_release(l); return 3; }",
    ),
    (returns_while_locked, "int f(void)\n{ s = mpm_lock_acquire(l); g(); return s; }"),
    (locale_dependent, '/* printf(x) */ my_print(x); "printf(";'),
    (float_formats, '"%d %lu %s 100%"; // "%g"'),
    (volatiles, '/* volatile */ "volatile";'),
    (too_long, "\n" * 700),
]


def names(value: object) -> str:
    return value.__name__ if callable(value) else ""


@pytest.mark.parametrize(("rule", "text"), BAD, ids=names)
def test_rule_finds(rule: Rule, text):
    """Each rule finds each way of breaking it."""
    assert 1 == len(rule(text))


@pytest.mark.parametrize(("rule", "text"), GOOD, ids=names)
def test_rule_is_quiet(rule: Rule, text):
    """A rule that cries wolf gets switched off."""
    assert [] == rule(text)


def test_complaints_name_the_line():
    """A complaint says where to look."""
    assert ["line 3: volatile"] == volatiles("/* one\n two */\nvolatile int x;")
    assert ["line 2: mpm_f has no [who may call] before it"] == untagged("\nvoid mpm_f(void);")
    text = LOCKED.format(refused="", full="return MPM_ENOMEM;")
    assert ["line 8: return in mpm_heap_alloc, lock held"] == returns_while_locked(text)

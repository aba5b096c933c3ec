# Each target makes what it needs.  A fresh machine needs git, make, a C
# compiler and Python >= 3.11 with its headers; everything else comes from PyPI
# into .venv and build/, and nothing is installed outside this folder.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# More test processes than cores: many tests wait.  A file's tests stay together.
PARALLEL ?= -n $(shell expr $(JOBS) + 1) --dist loadfile

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help dev test test-all models test-c asan asan-python tsan arm64 musl fuzz crash mutants lint format bench demo clean

help:
	@echo 'make dev        an editable install in $(VENV), of $(PYTHON)  (PYTHON=python3.12 VENV=... for another)'
	@echo 'make test       the Python tests                    (ARGS="-k counter -x" goes to pytest)'
	@echo 'make test-all   one wheel, tested by every CPython >= 3.11 found; make test-3.12 for one of them'
	@echo 'make models     the exhaustive models of tests/models alone'
	@echo 'make test-c     the tests of the C core, release flags      (CC=clang: by another compiler)'
	@echo 'make asan       the same under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make tsan       the same under ThreadSanitizer'
	@echo 'make arm64      the tests of the C core on arm64, by qemu-user; make musl: against musl'
	@echo 'make asan-python   the Python tests with the extension under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make fuzz       hostile stores, by libFuzzer (clang)        (SECONDS=60 long, or RUNS=20000 inputs, always the same)'
	@echo 'make crash      release flags with crash points: the C tests, then tests/crash, the storm and the soak in full'
	@echo 'make mutants    the core with deliberate mistakes, each of which the storm must see'
	@echo 'make lint       ruff, mypy, stubtest, clang-format; changes nothing'
	@echo 'make format     ruff and clang-format, in place'
	@echo 'make bench      the benchmarks                              (ARGS="..." goes to them)'
	@echo 'make demo       a small application and its metrics         (SECONDS=20: ends by itself)'
	@echo 'make clean      remove $(VENV), build/ and caches'

# --- the environment -----------------------------------------------------------

BIN := $(abspath $(VENV))/bin
pip = PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore $(1)/python -m pip --quiet
PIP := $(call pip,$(BIN))
C_SOURCES := $(wildcard native/*.c native/*.h) CMakeLists.txt
PY_SOURCES = $(shell find src/mpmetrics -name '*.py' -o -name '*.pyi' -o -name py.typed)
# Tests run with the checks; what is measured and what is shipped, without.  By
# the environment, since the pip of Debian 12 has no -C.
CHECKED := SKBUILD_CMAKE_DEFINE='MPM_CHECK=1'
CRASHING := SKBUILD_CMAKE_DEFINE='MPM_CHECK=2;MPM_CRASH_POINTS=ON' SKBUILD_BUILD_DIR=build/crash-wheel-objects
SANITIZED := SKBUILD_CMAKE_DEFINE='MPM_CHECK=2;MPM_SANITIZE=address' SKBUILD_BUILD_DIR=build/asan-wheel-objects SKBUILD_INSTALL_STRIP=false
MUTATING := SKBUILD_CMAKE_DEFINE='MPM_CHECK=2;MPM_CRASH_POINTS=ON;MPM_MUTANTS=ON' SKBUILD_BUILD_DIR=build/mutants-wheel-objects
# Its bin/ comes first, for cmake and ninja.
HERE := PATH="$(BIN):$$PATH"

# $(call need,COMMAND,what to do if it fails)
need = @$(1) >/dev/null 2>&1 || { echo; echo 'mpmetrics: $(2)'; echo; exit 1; } >&2

$(VENV)/.made:
	$(call need,$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11)',$(PYTHON) is missing or older than Python 3.11. Say which one to use: make PYTHON=python3.12 ...)
	$(call need,$(PYTHON) -c 'import venv$(,) ensurepip',$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv)
	$(call need,test -f "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h",$(PYTHON) has no Python.h. On Debian and Ubuntu: apt-get install python3-dev)
	$(call need,command -v $(firstword $(CC)),there is no C compiler ($(firstword $(CC))). On Debian and Ubuntu: apt-get install gcc libc6-dev)
	$(PYTHON) -m venv $(VENV)
	@touch $@
, := ,

# $(call requirements,EXTRA...): what pyproject.toml lists there; `build`: to build.
requirements = $$($(BIN)/python -c 'import sys, tomllib; \
    project = tomllib.load(open("pyproject.toml", "rb")); \
    lists = {"build": project["build-system"]["requires"], **project["project"]["optional-dependencies"]}; \
    print(*(one for name in sys.argv[1:] for one in lists[name]))' $(1))

# What builds the package, here to stay: with a fresh isolated environment for
# each build, every change to the C would wait for downloads.
$(VENV)/.build: pyproject.toml | $(VENV)/.made
	$(PIP) install cmake ninja $(call requirements,build)
	@touch $@

# What others wrote, some of it built here too (uWSGI), each isolated as it asks.
$(VENV)/.others: pyproject.toml | $(VENV)/.made
	$(PIP) install $(call requirements,test servers frameworks)
	@touch $@

# All of the C, since an editable install isn't rebuilt on import (pyproject.toml).
$(VENV)/.package: pyproject.toml $(C_SOURCES) $(VENV)/.build
	$(HERE) $(CHECKED) $(PIP) install --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.package $(VENV)/.others
	@touch $@

# Before all that only the tests need: whoever wants the demo is new here.
$(VENV)/.demo: pyproject.toml $(VENV)/.package
	$(PIP) install $(call requirements,demo)
	@touch $@

$(VENV)/.lint: pyproject.toml $(VENV)/.dev
	$(PIP) install $(call requirements,lint)
	@touch $@

dev: $(VENV)/.dev

# --- Python ----------------------------------------------------------------------

test: dev
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

models: dev
	MPM_PROOF=1 $(BIN)/python -m pytest tests/models

build/wheel/.made: pyproject.toml $(C_SOURCES) $(PY_SOURCES) $(VENV)/.build
	rm -rf build/wheel
	$(HERE) $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
	@ls build/wheel/*.whl && touch $@

build/crash-wheel/.made: pyproject.toml $(C_SOURCES) $(PY_SOURCES) $(VENV)/.build
	rm -rf build/crash-wheel
	$(HERE) $(CRASHING) $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/crash-wheel .
	@touch $@

build/asan-wheel/.made: pyproject.toml $(C_SOURCES) $(PY_SOURCES) $(VENV)/.build
	rm -rf build/asan-wheel
	$(HERE) CC='$(CC)' $(SANITIZED) $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/asan-wheel .
	@touch $@

build/mutants-wheel/.made: pyproject.toml $(C_SOURCES) $(PY_SOURCES) $(VENV)/.build
	rm -rf build/mutants-wheel
	$(HERE) $(MUTATING) $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/mutants-wheel .
	@touch $@

# $(call install-wheel,FOLDER,PYTHON,WHEELS,EXTRA): an environment with the wheel
# in it, by its own pip: that of Debian 12 breaks on newer Pythons.
define install-wheel
	test -x $(1)/bin/pip || '$(2)' -m venv $(1)
	$(call pip,$(1)/bin) install --force-reinstall --no-deps $(3)/*.whl
	$(call pip,$(1)/bin) install "$$(echo $(3)/*.whl)[$(4)]"
endef

# A CPython 3.$(1), by PATH or of pyenv, that runs (a shim may not) and has a GIL.
python = $(firstword $(foreach p,python3.$(1) $(wildcard $(HOME)/.pyenv/versions/3.$(1).*/bin/python3),$(shell \
    $(p) -c 'import sys; sys.version_info[:2] == (3, $(1)) and sys.implementation.name == "cpython" and "t" not in sys.abiflags and print(sys.executable)' 2>/dev/null)))
found = $(strip $(foreach m,11 12 13 14 15 16,$(if $(call python,$(m)),test-3.$(m))))

# Every one, also after a failure; one after the other, since some tests measure.
test-all: build/wheel/.made
	$(MAKE) --no-print-directory --keep-going --jobs=1 $(or $(found),$(error no CPython >= 3.11 found))

# Against the installed wheel: src/ isn't on the path.  Without the models, which
# are searches in Python and know nothing of it.
test-3.%: build/venv-3.%/.made
	@echo '--- CPython 3.$*'
	build/venv-3.$*/bin/python -m pytest $(PARALLEL) --ignore=tests/models $(ARGS)

.PRECIOUS: build/venv-3.%/.made
build/venv-3.%/.made: build/wheel/.made
	$(call install-wheel,build/venv-3.$*,$(or $(call python,$*),$(error no CPython 3.$* found)),build/wheel,test)
	@touch $@

# --- the C core ----------------------------------------------------------------------

# A folder for each compiler: CMake doesn't change it in a folder once made.
DIR = build/$@$(if $(filter-out cc,$(CC)),-$(notdir $(firstword $(CC))))
# Newer kernels put mappings where ThreadSanitizer (gcc 12, clang 14) cannot have them.
FIXED = $(shell setarch -R true 2>/dev/null && echo setarch -R)

define run-c
	$(HERE) CC='$(CC)' cmake --preset $@ -B $(DIR) --log-level=WARNING
	$(BIN)/cmake --build $(DIR)
	$(1) $(BIN)/ctest --test-dir $(DIR) --output-on-failure --no-tests=error --parallel $(JOBS)
endef

test-c: $(VENV)/.build
	$(call run-c)

asan: $(VENV)/.build
	$(call run-c)

tsan: $(VENV)/.build
	$(call run-c,$(FIXED))

# $(call note-c,ROW): how many of the tests, and what they say that they can't test here.
note-c = @$(BIN)/python tests/proved.py $@ '$(1)' "$$(ls $(DIR)/test_* | grep -c '/test_[a-z]*$$') programs, all passed" 'make $@'

arm64: CC = cc
arm64: $(VENV)/.build
	$(call need,command -v aarch64-linux-gnu-gcc qemu-aarch64,no compiler for arm64$(,) or no qemu. On Debian and Ubuntu: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
	$(call run-c)
	@grep -h '^not tested here\|ptrace is refused' build/arm64/Testing/Temporary/LastTest.log | sort | uniq -c
	$(call note-c,C tests on arm64$(,) under qemu-user: without ptrace and MADV_DONTFORK)

musl: CC = cc
musl: $(VENV)/.build
	$(call need,command -v musl-gcc,there is no musl. On Debian and Ubuntu: apt-get install musl-tools)
	$(call run-c)
	$(call note-c,C tests with musl)

# The extension under both sanitizers, of which Python itself knows nothing.
# What they say goes to files: a test may swallow what a process of it writes.
SANITIZED_ENV = LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:log_path=$(CURDIR)/build/asan-python/report \
    UBSAN_OPTIONS=print_stacktrace=1:log_path=$(CURDIR)/build/asan-python/report
# Without what only reads files or times things.
SANITIZED_TESTS = tests/memory tests/concurrency tests/crash tests/differential \
    $(filter-out $(addprefix tests/test_,benchmarks.py compatibility.py containers.py demo.py docs.py native_lint.py \
    prometheus.py tables.py types.py),$(wildcard tests/test_*.py)) tests/test_types.py
asan-python: CC = gcc
asan-python: build/asan-wheel/.made
	$(call install-wheel,build/venv-asan,$(BIN)/python,build/asan-wheel,test)
	rm -rf build/asan-python
	mkdir -p build/asan-python
	$(SANITIZED_ENV) build/venv-asan/bin/python -m pytest $(PARALLEL) $(LONG) -rs $(SANITIZED_TESTS) $(ARGS) \
	    --junit-xml=build/asan-python/junit.xml
	@if ls build/asan-python/report.* 2>/dev/null; then cat build/asan-python/report.* | head -200; exit 1; fi
	@$(BIN)/python tests/proved.py asan-python 'Python tests of the extension under ASan and UBSan' \
	    "$$(($$(sed -n 's/.*errors="0" failures="0" skipped="\([0-9]*\)" tests="\([0-9]*\)".*/\2 - \1/p' build/asan-python/junit.xml | head -1))) tests passed, no report" \
	    "make asan-python$(if $(ARGS), ARGS=\"$(ARGS)\")"

# What it finds is written to build/fuzz/; once mended, it is kept under a name
# that says what it was in native/tests/corpus/, which test_hostile runs.
FUZZ_BOUND = $(if $(RUNS),-runs=$(RUNS) -seed=1,-max_total_time=$(or $(SECONDS),60))
fuzz: CC = clang
fuzz: $(VENV)/.build
	$(call need,command -v clang,there is no clang. On Debian and Ubuntu: apt-get install clang)
	$(HERE) CC='$(CC)' cmake --preset $@ -B build/$@ --log-level=WARNING
	$(BIN)/cmake --build build/$@
	$(if $(RUNS),rm -rf build/$@/found)
	mkdir -p build/$@/found
	build/$@/fuzz_store $(FUZZ_BOUND) -len_control=0 -max_len=400 -timeout=60 -print_final_stats=1 \
	    -artifact_prefix=build/$@/ build/$@/found native/tests/corpus >build/$@/log 2>&1 || \
	    { grep -v '^#' build/$@/log | tail -80; exit 1; }
	@runs=$$(sed -n 's/^stat::number_of_executed_units: *//p' build/$@/log); \
	echo "$$runs inputs, no crash, nothing read outside the mapping, no walk without end"; \
	$(BIN)/python tests/proved.py fuzz 'hostile stores: inputs of libFuzzer, under ASan and UBSan' \
	    "$$runs inputs, nothing found" 'make fuzz $(if $(RUNS),RUNS=$(RUNS),SECONDS=$(or $(SECONDS),60))'

# A minute is no hang here: no stacks are dumped.
LONG = -o faulthandler_timeout=0

crash: build/crash-wheel/.made
	$(call run-c)
	$(call install-wheel,build/venv-crash,$(BIN)/python,build/crash-wheel,test)
	MPM_BUILT_FOR='crash points' MPM_PROOF=1 MPM_STORM_KILLS=2000 MPM_SOAK_WORKERS=10000 \
	    build/venv-crash/bin/python -m pytest $(PARALLEL) $(LONG) $(or $(ARGS),tests/crash)

mutants: build/mutants-wheel/.made
	$(call install-wheel,build/venv-mutants,$(BIN)/python,build/mutants-wheel,test)
	MPM_BUILT_FOR=mutants MPM_PROOF=1 \
	    build/venv-mutants/bin/python -m pytest $(LONG) $(or $(ARGS),tests/crash/test_mutants.py)

# --- the rest --------------------------------------------------------------------------

FORMATTED = $(wildcard native/*.[ch] native/tests/*.[ch])

# All of them, also after a complaint.
lint: $(VENV)/.lint
	@status=0; run() { echo "$$*" | cut -c -100; "$$@" || status=1; }; cd '$(CURDIR)'; \
	run $(BIN)/ruff check .; \
	run $(BIN)/ruff format --check .; \
	run $(BIN)/mypy; \
	run $(BIN)/stubtest mpmetrics._native --mypy-config-file pyproject.toml; \
	run $(BIN)/clang-format --dry-run -Werror $(FORMATTED); \
	exit $$status

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

# Without the checks: what is measured is the wheel.
bench: build/wheel/.made
	$(call install-wheel,build/venv-bench,$(BIN)/python,build/wheel,bench)
	build/venv-bench/bin/python -m benchmarks $(ARGS)

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py $(if $(SECONDS),--seconds $(SECONDS))

clean:
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

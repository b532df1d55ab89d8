# make demo    see it work: one run after another on real CLIs, no credentials needed
# make test    every test
# make check   format, lint, types, layers
# make bench   speed of servers, store, wrappers and runs, as tables (ARGS="wrappers --rounds 9", "profile", …)
# make faults  kill -9 at random moments, 100 rounds of each kind (ROUNDS=n)
# make fmt     put the code in form

# The newest interpreter that is at least 3.11; another one: make PYTHON=/path/to/python test
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ROUNDS ?= 100
BIN := .venv/bin
# Tests wait for programs more than they compute: a few files of them at once, a worker a core.
BESIDE ?= --numprocesses auto --maxprocesses 4 --dist loadfile
INSTALLED := .venv/.installed
# Text without an encoding is a bug on the next machine: Python warns, and warnings are errors.
RUN := PYTHONWARNDEFAULTENCODING=1 $(BIN)/python

.PHONY: demo test check bench faults fmt constraints

demo: $(INSTALLED)
	@$(BIN)/python -m tests.demo $(ARGS)

test: $(INSTALLED)
	$(RUN) -m pytest $(BESIDE) $(ARGS)

faults: $(INSTALLED)
	$(RUN) -m pytest tests/faults -s --rounds $(ROUNDS) $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(INSTALLED)
	@$(BIN)/python -m tests.bench $(ARGS)

fmt: $(INSTALLED)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml deploy/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing into .venv (once; the agents' programs are large)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c deploy/constraints.txt -e '.[dev]'
	@touch $@

# Resolve anew, without the old pins, in a throw-away environment.
constraints:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(PYTHON) -m venv "$$dir" \
	&& "$$dir/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]' \
	&& { head -n 1 deploy/constraints.txt; "$$dir/bin/python" -m pip freeze --exclude-editable; } > deploy/constraints.new \
	&& mv deploy/constraints.new deploy/constraints.txt

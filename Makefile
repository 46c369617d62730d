# Two commands do everything on a fresh machine; each makes .venv itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

define KNOWN_PYTHON
import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and \
  "error: Python 3.11, 3.12 or 3.13 is needed: name one, as in make PYTHON=python3.12 ...")
endef

.PHONY: demo test test-slow test-newest lint

demo: $(VENV)/installed
	$(BIN)/python scripts/demo.py

# Two at a time, each file in one process: most of the time is compiling, which fills one core.
test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

# With the newest versions that the ranges allow, in an environment that is made anew each time:
# make PYTHON=python3.13 test-newest. TESTS="tests/data tests/models" runs a part.
NEWEST := .venv-newest
TESTS ?= tests
test-newest:
	@$(PYTHON) -c '$(KNOWN_PYTHON)'
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade pip
	$(NEWEST)/bin/python -m pip install --quiet -e ".[dev]"
	$(NEWEST)/bin/python -m pip check
	@echo "not the versions of constraints.txt:"
	@$(NEWEST)/bin/python -m pip list --format freeze | sort > $(NEWEST)/versions
	@grep -v "^#" constraints.txt | sort | comm -13 - $(NEWEST)/versions
	$(NEWEST)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile $(TESTS)

lint: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Written last, so that an install that broke off is made again.
$(VENV)/installed: requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c '$(KNOWN_PYTHON)'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

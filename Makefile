# `make demo` and `make test` set up everything they need in .venv; nothing else is touched.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH ?= torch==2.13.0
PYTEST_FLAGS ?= -n 2

VENV := .venv
BIN := $(VENV)/bin
DEMO := .runs/demo
SOURCES := $(shell find tdncalc models -type f -not -name '*.pyc' 2>/dev/null)

# One thread a process: spinning threads cost more than they bring for small systems.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test quick lint format clean

demo: $(VENV)/.installed  ## relax a molecule and run molecular dynamics of it, from the command line
	rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(BIN)/tdn models list
	$(BIN)/tdn energy examples/aspirin.xyz
	$(BIN)/tdn relax examples/aspirin.xyz --output-dir $(DEMO)
	$(BIN)/tdn md $(DEMO)/aspirin-relaxed.extxyz --output-dir $(DEMO) \
	    --ensemble nvt-langevin --temperature 300 --time "0.5 ps" --interval 100 --seed 1
	$(BIN)/tdn report $(DEMO) -o $(DEMO)/report.html
	@echo; awk -F, '{ printf "%8s %8s %14s %13s %12s %13s\n", $$1, $$2, $$3, $$4, $$5, $$6 }' \
	    $(DEMO)/aspirin-relaxed-md.csv
	@echo; echo "Files in $(DEMO):"; ls -1sh $(DEMO)

test: lint  ## everything that continuous integration checks
	$(BIN)/pytest $(PYTEST_FLAGS)

quick: $(VENV)/.developed  ## the tests that take seconds
	$(BIN)/pytest $(PYTEST_FLAGS) -m "not physics and not slow"

lint: $(VENV)/.developed  ## formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.developed  ## let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environment, the runs and what the tools left behind
	rm -rf $(VENV) .runs build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find tdncalc tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first and by itself, so that no other requirement chooses its version.
$(VENV)/.torch: pyproject.toml
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --progress-bar off "$(TORCH)"
	touch $@

# As a user installs it; a developer's editable install, which is always current, is left alone.
$(VENV)/.installed: $(VENV)/.torch $(SOURCES)
	test -e $(VENV)/.developed || $(BIN)/pip install --quiet --progress-bar off .
	touch $@

$(VENV)/.developed: $(VENV)/.torch
	$(BIN)/pip install --quiet --progress-bar off --editable ".[dev]"
	# kernels are tested everywhere: where there is no C++ compiler, with one from the package index
	command -v c++ || command -v g++ || command -v clang++ || \
	    $(BIN)/pip install --quiet --progress-bar off ziglang
	touch $@

# `make demo` and `make test` each set up all they need: nothing has to be run before them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SYSTEM_PACKAGES := libegl1 libgles2 libgl1 libglib2.0-0

.PHONY: demo test lint install system

demo: install
	$(BIN)/raysign demo

test: install
	$(BIN)/python -m pytest -q

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright --pythonpath $(BIN)/python

install: system $(VENV)/.installed

# The shared libraries that MediaPipe loads; a missing one is answered with the line that installs it.
system:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "raysign needs Python 3.11 to 3.13, found $$($(PYTHON) --version 2>&1): make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ctypes; [ctypes.CDLL(n) for n in ("libEGL.so.1", "libGLESv2.so.2", "libGL.so.1", "libglib-2.0.so.0")]' 2>/dev/null || \
		{ echo "Missing system libraries. On Debian or Ubuntu: sudo apt-get install -y $(SYSTEM_PACKAGES)"; exit 1; }

# constraints.txt pins every package, torch first and by itself: a range would fetch the CUDA build.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

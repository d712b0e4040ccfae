# Short names for the commands of dev.py, which also work without make. Another interpreter: make test PYTHON=python3.12
# Arguments for pytest: make test ARGS="-x -k elman"

PYTHON ?= python3
ARGS ?=

.PHONY: help demo test lint clean

help:
	@$(PYTHON) dev.py help

demo test lint:
	@$(PYTHON) dev.py $@ $(ARGS)

clean:
	@$(PYTHON) dev.py clean

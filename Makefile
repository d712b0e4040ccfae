# Short names for the commands of dev.py, which also work without make. Another interpreter: make test PYTHON=python3.12
# Arguments for the command: make test ARGS="-x -k elman", make benchmark ARGS=--quick

PYTHON ?= python3
ARGS ?=

.PHONY: help demo test lint full benchmark clean

help:
	@$(PYTHON) dev.py help

demo test lint full benchmark:
	@$(PYTHON) dev.py $@ $(ARGS)

clean:
	@$(PYTHON) dev.py clean

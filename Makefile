# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export MUJOCO_GL ?= egl

.PHONY: demo test test-thorough setup system lint types check wheel clean

demo: setup
	$(BIN)/twinloop demo $(DEMO_ARGS)

test: setup
	OMP_NUM_THREADS=1 LP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(TEST_ARGS)

test-thorough: setup
	OMP_NUM_THREADS=1 LP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m thorough $(TEST_ARGS)

setup: system $(STAMP)

$(STAMP): pyproject.toml constraints.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -U pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q -c constraints.txt -e '.[learn,dev]'
	touch $(STAMP)

system:
	@sh scripts/system-libraries.sh $(if $(filter demo,$(MAKECMDGOALS)),,browser)

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types:
	bash scripts/check-types.sh

check: setup lint types

wheel: setup
	sh scripts/check-wheel.sh

clean:
	rm -rf build dist *.egg-info out runs

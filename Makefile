# make demo    set up, run the demo sweep, say where its report is
# make test    set up, run all tests
# make check   set up, ruff, mypy, import contracts, house rules, spelling, documentation
# make docs    set up, build the documentation site into build/site
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One more than there are cores: the longest tests wait for Slurm, for leases and for processes that they ended.
PROCESSES ?= $(shell echo $$(($$(nproc) + 1)))

.PHONY: demo test check docs clean

demo: $(VENV)/.installed
	$(BIN)/python -m harness.sweep sweeps/demo.yaml
	@echo "The report is at runs/demo/report/report.html"

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 25

check: $(VENV)/.installed docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tests/house_rules.py
	$(BIN)/codespell

# Warnings are errors; the theme's own notice about its future is not one of ours.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; say make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info

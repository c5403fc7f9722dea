# Everything runs in .venv, which tools/env.sh makes from python3 and pip alone.
IN_VENV := PATH="$(CURDIR)/.venv/bin:$$PATH"
# All checks report, even where an earlier one failed.
MAKEFLAGS += --keep-going --no-print-directory

# One at a time, since two could make .venv at once; `test` makes it once, and then runs its checks side by side.
ifndef beside
.NOTPARALLEL:
endif
.PHONY: help demo test test-all lint types unit docs clean env-run env-dev env-all

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

demo: env-run  ## tune MovieLens 100K on this machine, and show the trials
	@$(IN_VENV) sh examples/demo.sh

test:  ## style, types, and every test but the slow ones
	@$(MAKE) --jobs=3 beside=1 lint types unit

test-all: env-all lint types  ## also the slow tests, coverage, the wheel on every Python found here, the oldest dependencies
	@$(IN_VENV) pytest --cov --cov-report=term --hypothesis-profile=many
	@$(IN_VENV) tox run -q -e py311,py312,py313,lowest,cupy

lint: env-dev  ## ruff: style and format
	@$(IN_VENV) ruff check --quiet --output-format concise .
	@$(IN_VENV) ruff format --check --quiet .

types: env-dev  ## mypy, strict
	@$(IN_VENV) mypy

# Four processes on two cores: one that waits leaves its core to the others, also where the machine has other work.
unit: env-dev
	@$(IN_VENV) pytest -m "not slow" -n 4

docs: env-dev  ## the documentation as a site, in site/; a warning is an error
	@$(IN_VENV) NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "open site/index.html, or: .venv/bin/mkdocs serve"

clean:  ## remove caches, build results and .venv; data, studies and MLflow stores stay
	@rm -rf .venv .tox .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist site
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

env-run:
	@sh tools/env.sh run
env-dev:
	@sh tools/env.sh dev
env-all:
	@sh tools/env.sh all

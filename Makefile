# The commands of this checkout; `make help` lists them. All of them install what is missing first (tools/setup.sh).

PYTHON_ENV := .venv/bin
# What is linted, as far as it exists.
CODE := $(wildcard src tests bench tools)
TYPED := $(wildcard src tests bench)

# Three files of tests at a time: most of a test is waiting, and each has namespaces of its own.
AT_ONCE := -n 3 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-stock test-long lint bench lock clean

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## install what is missing: system packages, and .venv from the lock
	@bash tools/setup.sh

demo: setup  ## the tour: two hosts, networks, VIFs, real packets; leaves nothing behind
	@$(PYTHON_ENV)/python -m xenet.lab.tour

# The order of sets is fixed as well: what passes once passes again, until the code changes. The long run has another order each time.
test: export PYTHONHASHSEED := 0

# The virtual machine comes first, so that the summary of the larger part stands last; both are run, whatever the first one says.
test: setup  ## all tests, with sampled walks, those on a stock kernel too; with ARGS pytest alone
	@stock=0; $(if $(ARGS),,$(PYTHON_ENV)/python tools/stock_kernel.py || stock=$$?;) $(PYTHON_ENV)/python -m pytest $(or $(ARGS),$(AT_ONCE)) && exit $$stock

test-stock: setup  ## tests on a stock Debian kernel in a virtual machine (T=tests/stock/test_x.py for a part)
	@$(PYTHON_ENV)/python tools/stock_kernel.py $(T)

test-long: setup  ## all tests, with the full products of the walks (for nights)
	@XENET_LONG=1 $(PYTHON_ENV)/python -m pytest $(or $(ARGS),$(AT_ONCE))

lint: setup  ## ruff, mypy --strict, and the one way of the imports
	@$(PYTHON_ENV)/ruff check $(CODE)
	@$(PYTHON_ENV)/mypy $(TYPED)
	@PYTHONPATH=. $(PYTHON_ENV)/lint-imports --no-logo

bench: setup  ## the benchmarks; figures go into bench/RESULTS.md
	@$(PYTHON_ENV)/python -m bench $(ARGS)

lock:  ## write the lock files anew from pyproject.toml (ARGS=--upgrade takes the newest)
	@bash tools/lock.sh $(ARGS)

clean:  ## take away what aborted runs left: labs, caches, builds
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis .cache build dist
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
	@if $(PYTHON_ENV)/xenet lab clean --help >/dev/null 2>&1; then $(PYTHON_ENV)/xenet lab clean; fi

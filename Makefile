# `make help` lists what can be made; the two that matter are `make up` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help up test box box-down soak bench lint setup setup-test lock clean

# Passed on: make up ARGS="--port 9000", make test ARGS="tests/unit -k names"
ARGS ?=

# uv brings certificates of its own; with this it also trusts those a company put on the machine.
export UV_SYSTEM_CERTS ?= 1

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s%s\n", $$1, $$2 }' Makefile

up: setup ## start a tracking server on this computer and say how to connect (ARGS="--port 9000")
	@.venv/bin/trackstack deploy local --show-passwords $(ARGS)

test: setup-test lint ## install what the tests need and run them all (ARGS="tests/unit -k names" for some)
	@sh make/test.sh $(ARGS)

box: setup-test ## deploy into a cloud in a box, to play with; as root on Linux (ARGS=gcp for the other cloud)
	@PYTHONPATH=tests:. .venv/bin/python -m box up $(ARGS)

box-down: ## remove that box with all that it made
	@PYTHONPATH=tests:. .venv/bin/python -m box down

soak: setup-test ## stop deploys, kill parts of a server that is written to (ARGS="--minutes 30 --seed 1")
	@PYTHONPATH=tests:. .venv/bin/python -m soak $(ARGS)

lint: setup-test ## check that the lock files fit, style, types and the floors of the house
	.venv/bin/uv pip check --python .venv/bin/python
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: export BOX = 1
bench: setup-test ## measure the server beside what it replaces; as root (ARGS="--only requests" for some)
	@sh make/bench.sh $(ARGS)

setup: ## install what the kit needs: nginx, and the rest into .venv
	@sh make/bootstrap.sh run

setup-test: ## install what the tests need besides
	@sh make/bootstrap.sh test

lock: setup-test ## write the lock files anew, keeping versions that still fit (ARGS=--upgrade for newer ones)
	@sh make/lock.sh $(ARGS)

clean: ## remove .venv and all that tools left in this folder; running servers and their data stay
	rm -rf .venv .cache dist .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

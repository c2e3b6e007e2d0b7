# make help  lists everything. `make up` needs Debian or Ubuntu with git, make and Python 3.11.

STATE ?= /var/lib/drc
ARGS ?=
EXTRAS ?=
PURGE ?=
export DRC_STATE := $(STATE)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
UV = $(shell command -v uv || echo .uv/bin/uv)
RUN = .venv/bin/

.PHONY: help up down clean demo-idle dev images check format test test-host test-others test-fast bench lock

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## start drc on this machine, and a first vessel (ARGS="--simulate a100:8")
	@$(SUDO) sh deploy/install "$(STATE)" $(EXTRAS)
	@"$(STATE)/venv/bin/drc" up --state "$(STATE)" $(ARGS)

down: ## stop drc; vessels go on
	@"$(STATE)/venv/bin/drc" down --state "$(STATE)"

clean: ## take away everything that make up made; homes only with PURGE=homes
	@"$(STATE)/venv/bin/drc" down --state "$(STATE)" --clean --purge "$(PURGE)"
	@$(SUDO) sh deploy/uninstall "$(STATE)"

demo-idle: ## a day of an idle vessel in half a minute: warned, kept, warned, buried, back again
	@$(MAKE) --no-print-directory up ARGS="$(ARGS) --metrics --no-vessel"
	@"$(STATE)/venv/bin/drc" create napping --gpus 2
	@$(SUDO) "$(STATE)/venv/bin/python" -m demo.idle "$(STATE)" "$$("$(STATE)/venv/bin/drc" show napping --json | sed -n 's/.*"owner": "\(.*\)".*/\1/p')" napping
	@"$(STATE)/venv/bin/drc" events napping

dev: .venv ## the environment for working on drc, in .venv

.venv: pyproject.toml uv.lock
	@command -v uv >/dev/null || [ -x .uv/bin/uv ] || sh deploy/get-uv .uv
	@$(UV) sync -q --frozen --extra server --extra otel --compile-bytecode --python "$$(sh deploy/find-python)"
	@touch .venv

images: dev ## an engine, and the images that tests and benches start
	@$(SUDO) $(RUN)python -m drc.up.system images '{"state": "/var/cache/drc-tests/state"}' >/dev/null

check: dev ## format, lint, types, the arrows between the modules
	@$(RUN)ruff format --check -q .
	@$(RUN)ruff check -q .
	@$(RUN)pyright >.venv/pyright.log || { cat .venv/pyright.log; exit 1; }
	@$(RUN)lint-imports --no-logo >.venv/imports.log || { cat .venv/imports.log; exit 1; }
	@echo "format, lint, types and arrows are in order"

format: dev ## let ruff format
	@$(RUN)ruff format -q . && $(RUN)ruff check -q --fix .

test: images ## all tests, with the servers they need; those on hosts beside the others
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-host test-others

# those of two machines go behind the others, on engines with folders of their own: so both halves take as long
TWO := $(patsubst %,tests/host/test_%.py,fleet moving_home troubles)

test-host: images ## the tests on engines of their own
	@$(RUN)python -m pytest tests/tailnet tests/host $(TWO:%=--ignore=%)

test-others: images
	@$(RUN)python -m pytest tests/unit tests/database tests/wire tests/acceptance
	@DRC_TEST_CACHE=/var/cache/drc-tests/two $(RUN)python -m pytest $(TWO)

test-fast: dev ## the tests that need no Docker
	@$(RUN)python -m pytest tests/unit tests/database tests/wire

soak: images ## every program killed at every step, and a thousand operations with kills between them
	@KILLS=all CASES=10000 $(RUN)python -m pytest tests/host/test_kill.py tests/wire/test_buried.py tests/wire/test_model.py tests/wire/test_contract.py
	@$(RUN)python -m bench.soak

bench: bench-cli bench-start bench-reserve bench-wake bench-memory ## all benches; each ends with a line of JSON

bench-start: dev ## from the request to ssh and Jupyter, beside docker run (needs make up)
	@$(RUN)python -m bench.start

bench-cli: dev ## drc --help and drc list, beside what they import (needs make up)
	@$(RUN)python -m bench.cli

bench-reserve: dev ## the reservation, beside the same design with nothing else in it
	@$(RUN)python -m bench.reserve

bench-tailnet: images ## from the request to ssh over a real tailnet, beside docker run
	@$(RUN)python -m bench.tailnet

bench-fleet: dev ## ten thousand GPUs discovered, scraped and judged, and a week without false alarms
	@$(RUN)python -m bench.fleet

bench-undertaker: dev ## one round over ten thousand GPUs and their real Prometheus
	@$(RUN)python -m bench.undertaker

bench-wake: dev ## from a freed GPU to the next vessel, with thousands waiting
	@$(RUN)python -m bench.wake

bench-memory: dev ## what API, conductor and Postgres hold in memory
	@$(RUN)python -m bench.memory

bench-recover: images ## from a killed program's restart until all is true again, with fifty vessels
	@$(RUN)python -m bench.recover

bench-soak: images ## a thousand operations with random kills: nothing lost, nothing left over
	@$(RUN)python -m bench.soak

lock: ## uv.lock anew
	@$(UV) lock -q

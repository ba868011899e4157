# Everything a developer needs; `make help` lists it. The first target that runs sets up .venv, later ones reuse it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PROGRAMS := $(VENV)/.programs
SWIFT := $(VENV)/swift
SWIFT_INSTALLED := $(SWIFT)/.installed
CLIENTS := $(VENV)/clients
CLIENTS_INSTALLED := $(CLIENTS)/.installed
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help up cloud cluster test simulate simulate-many mutants check bench format clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(INSTALLED)  ## Run a whole store in one process on 127.0.0.1:8080, its data below ./data
	$(BIN)/objstore up

cluster: $(INSTALLED)  ## Start a cluster of four nodes on 127.0.0.1 to .4, each server a process, below ./cluster
	@test -e cluster/cluster.json || $(BIN)/objstore cluster make
	$(BIN)/objstore cluster start

cloud: $(INSTALLED)  ## Run a store with the services of a cloud beside it on 127.0.0.1, all of it below ./cloud
	$(BIN)/objstore cloud up

test: $(INSTALLED) $(PROGRAMS) $(SWIFT_INSTALLED) $(CLIENTS_INSTALLED)  ## Run all tests; TESTS=path chooses some, COVERAGE=1 measures what they reach
	@test ! -x $(SWIFT)/bin/swift-ring-builder || export OBJSTORE_SWIFT_PYTHON=$(CURDIR)/$(SWIFT)/bin/python; \
	$(BIN)/python -m pytest -n auto $(if $(COVERAGE),--cov --cov-report=term-missing:skip-covered) $(TESTS)

simulate: $(INSTALLED)  ## Replay a simulated cluster: SEED=n HOURS=h; a failing one is shrunk to a short trace
	$(BIN)/python -m tests.simulation one $(or $(SEED),1) --hours $(or $(HOURS),10) --shrink

simulate-many: $(INSTALLED)  ## Simulate N=100 seeds of HOURS=10 in parallel, and print those that fail
	$(BIN)/python -m tests.simulation many --count $(or $(N),100) --hours $(or $(HOURS),10)

mutants: $(INSTALLED)  ## Plant known bugs one at a time, and see that the simulation catches each
	$(BIN)/python -m tests.simulation mutants

check: $(INSTALLED)  ## Format, lint, types and tidiness: what has to pass before a commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict -p objstore
	$(BIN)/python -m pytest -q tests/tidy

bench: $(INSTALLED)  ## Measure requests a second, processor time and memory
	@.ci/programs wrk
	$(BIN)/objstore bench

format: $(INSTALLED)  ## Format the sources and apply the fixes that are safe
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove what the other targets made; the data of `make up` stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

$(INSTALLED): setup.py pyproject.toml objstore/system/crew.c .ci/install
	.ci/install $(PYTHON) $(VENV)
	@touch $@

# Programs that only some functional tests talk to. Those tests are skipped where a program cannot be had.
$(PROGRAMS): $(INSTALLED) .ci/programs
	.ci/programs memcached rclone s3cmd restic skopeo docker-registry s3fs psql=postgresql mariadbd=mariadb-server
	.ci/programs qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils socat genisoimage linux.uml=user-mode-linux
	.ci/programs busybox=busybox-static syslinux /usr/lib/syslinux/mbr/mbr.bin=syslinux-common mformat=mtools
	@touch $@

# Only tests/compat compares with it.
$(SWIFT_INSTALLED): $(INSTALLED) .ci/swift
	.ci/swift $(PYTHON) $(SWIFT)
	@touch $@

# Those that only tests/functional/clients runs.
$(CLIENTS_INSTALLED): $(INSTALLED) .ci/clients
	.ci/clients $(PYTHON) $(CLIENTS)
	@touch $@

# One door. `make demo` and `make test` do all the set-up themselves; every target may be run again at any time.

SHELL := /bin/bash
.DEFAULT_GOAL := help

CONFIGURATION ?= release
SWIFT_FLAGS ?=
BIN = $(shell swift build -c $(CONFIGURATION) --show-bin-path 2>/dev/null)
SOURCES = Sources Tests Plugins Package.swift

.PHONY: help setup tools agent build run demo test lint format bench fuzz clean

help: ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 18

setup: ## Install the Debian packages that are missing
	@scripts/setup.sh

tools: setup ## The sandbox's launcher, zone and filter (C, static) into dist/libexec
	@scripts/build-tools.sh

agent: setup ## The workspace agent (static) into dist/libexec
	@scripts/build-agent.sh

build: tools agent ## Everything, CONFIGURATION=release unless told
	swift build -c $(CONFIGURATION) $(SWIFT_FLAGS)

run: build ## A server on http://127.0.0.1:7990 with its own PostgreSQL in ./data
	SLIPWAY_LIBEXEC=$(CURDIR)/dist/libexec $(BIN)/slipway server --data-dir $(CURDIR)/data --listen 127.0.0.1:7990

demo: build ## The main job, end to end; EXIT=1 stops the server at the end, MODEL=… uses a real model
	@SLIPWAY_BIN=$(BIN) SLIPWAY_LIBEXEC=$(CURDIR)/dist/libexec EXIT=$(EXIT) MODEL=$(MODEL) scripts/demo.sh

test: ## Set-up, build and every test
	@scripts/setup.sh test
	@scripts/build-tools.sh
	@scripts/build-agent.sh
	swift build --build-tests $(SWIFT_FLAGS)
	SLIPWAY_LIBEXEC=$(CURDIR)/dist/libexec scripts/test.sh $(TESTS)

lint: ## Format, forbidden imports, shell scripts
	swift format lint --strict --parallel --recursive $(SOURCES)
	@scripts/lint-layers.sh

format: ## Rewrite the sources in the project's format
	swift format --in-place --parallel --recursive $(SOURCES)

bench: build ## The side-by-side measurements; the figures go to docs/benchmarks.md by hand
	@scripts/setup.sh bench
	@SLIPWAY_BIN=$(BIN) SLIPWAY_LIBEXEC=$(CURDIR)/dist/libexec bench/run.py $(BENCH)

fuzz: ## The codecs on hostile bytes, SECONDS=300 in all unless told
	@SECONDS_TO_FUZZ=$(or $(SECONDS),300) scripts/fuzz.sh

clean: ## Remove what was built (never ./data)
	rm -rf .build .build-agent .build-fuzz dist

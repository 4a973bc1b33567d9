# Every command that is worth knowing. `make` alone lists them; the list is made from the comments behind `##`.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Tests with one of these words in their path may start RabbitMQ, PostgreSQL or Python.
NEEDS_SERVERS := --skip rabbitmq --skip postgres --skip amqp --skip servers --skip cluster --skip receivers
# What `make bench` measures (`postrider bench --help` lists the scenarios), with which further options.
SCENARIO ?= throughput
ARGS ?=
# What `make performance` measures, if not everything: a scenario, and after it perhaps an engine.
ONLY ?=
REVISION = $(or $(shell git describe --always --dirty 2>/dev/null),unknown)

.DEFAULT_GOAL := help
.PHONY: help run cluster install-services test test-embedded test-newer fault simulate fuzz explain check generate bench bench-cluster performance clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Everything in one process, nothing to install; data in ./data
	$(CARGO) run --release --locked -p postrider-cli -- serve --dev

cluster: install-services ## RabbitMQ, PostgreSQL and two processes of each role, on this machine
	$(CARGO) build --release --locked -p postrider-cli
	$(CARGO) run --locked -p postrider-tests --bin cluster -- $(TARGET)/release/postrider

install-services: ## Install RabbitMQ and PostgreSQL if they are missing, without starting them
	@tests/install-services.sh

test: install-services ## Every test, on real servers that are started and ended by the tests
	$(CARGO) test --workspace --locked

test-embedded: ## The tests that need cargo alone
	$(CARGO) test --workspace --locked -- $(NEEDS_SERVERS)

test-newer: ## What talks to servers, on Debian 13's: RabbitMQ 4.0, PostgreSQL 17 (needs root and debootstrap)
	$(CARGO) test --locked -p postrider-tests --test conformance --test end_to_end --test fault \
		--config 'target."cfg(unix)".runner=["$(CURDIR)/tests/on-debian.sh", "trixie"]' -- --skip of_three_nodes

fault: install-services ## What has a long form, in it: things are killed under load, for about an hour
	POSTRIDER_TEST_LONG=1 $(CARGO) test --release --locked -p postrider-tests --test fault -- --nocapture --test-threads 1
	POSTRIDER_TEST_LONG=1 $(CARGO) test --release --locked -p postrider-tests --test end_to_end an_event_may_have_many \
		-- --nocapture --test-threads 1

simulate: ## The simulation at length: SEEDS=100000 from FROM=1 on, or one SEED with its trace
	POSTRIDER_SIMULATE_SEEDS=$(or $(SEEDS),100000) POSTRIDER_SIMULATE_FROM=$(or $(FROM),1) \
	$(if $(SEED),POSTRIDER_TEST_SEED=$(SEED)) \
	$(CARGO) test --locked -p postrider-tests --test simulation whatever_goes_wrong -- --nocapture

fuzz: ## What comes from outside, made up by chance, at length: CASES=1000000 of each kind
	PROPTEST_CASES=$(or $(CASES),1000000) $(CARGO) test --locked -p postrider-contract --test hostile_input
	PROPTEST_CASES=$(or $(CASES),1000000) $(CARGO) test --locked -p postrider-manage leaves_nothing

explain: install-services ## How PostgreSQL answers every question to a log of 5 million deliveries (minutes, 5 GB)
	$(CARGO) test --locked -p postrider-tests --test conformance -- --ignored --nocapture five_million

check: ## Formatting, lints, architecture, documents, generated files, licences
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --locked --test architecture
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed: licences and advisories were not checked"; fi

generate: ## Write the files that are made from code
	$(CARGO) build --locked -p postrider-tests --bin postrider-under-test
	$(CARGO) run --quiet --locked -p postrider-tests --bin postrider-under-test -- config reference > docs/configuration.md
	$(CARGO) run --quiet --locked -p postrider-tests --bin postrider-under-test -- openapi > proto/openapi.json
	$(CARGO) run --quiet --locked -p postrider-tests --bin postrider-under-test -- profiles schema > proto/profile.schema.json

bench: ## Load an installation of its own on the embedded engine: SCENARIO=throughput, ARGS='--fan-out 5'
	$(CARGO) run --release --locked -p postrider-cli -- bench $(SCENARIO) --note revision=$(REVISION) $(ARGS)

bench-cluster: install-services ## The same on a private RabbitMQ and PostgreSQL
	$(CARGO) build --release --locked -p postrider-cli
	$(CARGO) run --locked -p postrider-tests --bin bench-cluster -- $(TARGET)/release/postrider \
		$(SCENARIO) --note revision=$(REVISION) $(ARGS)

performance: install-services ## Measure everything and write docs/performance.md (over an hour); ONLY='lanes cluster' for a part
	$(CARGO) build --release --locked -p postrider-cli
	$(CARGO) run --locked -p postrider-tests --bin performance -- $(TARGET)/release/postrider $(REVISION) $(ONLY)

clean: ## Remove what was built; data stays
	$(CARGO) clean

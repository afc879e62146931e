# The commands people use. `make help` lists them.
#
# Variables:
#   PROFILE=dev|release  how `demo` is built; dev shares its build with `test`, release is what you would run
#   SEEDS=50             `sim`: how many seeds to try, from SEED on
#   SEED=1               `sim`: the first seed; alone, the only one
#   TEST=                `sim`: only tests with this in their name
#   EXHIBIT=             `museum`: only this one, or these, with commas; all, and docs/TESTING.md gets the table
#   BENCH=...            `bench`: arguments for the generator (`make bench BENCH=--help`)
#   N=100000             `differential`: how many requests; SEED and N of a report show a difference again
#   MINUTES=5            `jepsen`: how long; SEED=1234 begins there; JEPSEN='--nemesis kill,one-way' and so on
#   KEEP=1               `demo`: leave the data folder and the logs behind

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help deps demo test check fix sim fresh museum jepsen failover differential bench

PROFILE ?= dev
BENCH ?=
bins := target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

# nextest kills what is stuck (.config/nextest.toml); without it the whole run has a limit.
nextest := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
run_tests := $(if $(nextest),cargo nextest run --profile ci,timeout --kill-after=10s 60m cargo test --no-fail-fast)

# The simulator is another flavour of every crate: a target folder of its own keeps both warm. Optimised a little,
# because a seed costs seconds of CPU otherwise, and with debug assertions, because it looks for broken ones.
sim_env := RUSTFLAGS="--cfg madsim" CARGO_TARGET_DIR=target/sim CARGO_PROFILE_DEV_OPT_LEVEL=1
SEEDS ?= $(if $(filter command line environment,$(origin SEED)),1,50)
SEED ?= 1

help: ## list these commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16
	@sed -n 's/^#   /    /p' Makefile

deps: ## install what a Debian machine with Rust lacks, or say what that is
	@.ci/deps

demo: deps ## build, start three nodes in three zones, kill the leader, lose nothing
	cargo build --profile $(PROFILE) --workspace --bins
	@BIN=$(bins) KEEP=$(KEEP) deploy/demo.sh

test: deps ## every test: unit, tidy, processes, documentation, simulation
	cargo build --workspace --bins
	$(run_tests) --workspace
	cargo test --workspace --doc
	$(MAKE) --no-print-directory sim
	@# Seeds that nobody has tried find old bugs too: they are shown, with their replay, and do not fail the change.
	@$(MAKE) --no-print-directory fresh || echo "A FRESH SEED FOUND SOMETHING: replay it as printed above, and give it a row in docs/TESTING.md"

check: deps ## formatting, lints, tidy: what a commit must pass before its tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --test tidy
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; else echo "skipped: cargo-deny is not installed"; fi
	@if command -v shellcheck >/dev/null; then shellcheck deploy/*.sh deploy/compat/*.sh deploy/patroni/*.sh .ci/*; else echo "skipped: shellcheck is not installed"; fi

fix: deps ## let the tools repair formatting and lints
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

# The seeds of a test run side by side; the tests run one after another, and print. The feature plants nothing by itself.
sim_test := $(sim_env) timeout --kill-after=10s 60m cargo test -p holdfast-jepsen --features museum

sim: deps ## run the simulation tests: SEEDS=50 of them, or SEED=1234 alone
	HOLDFAST_SIM_SEED=$(SEED) HOLDFAST_SIM_SEEDS=$(SEEDS) $(sim_test) --test sim $(TEST) -- --nocapture --test-threads=1

fresh: deps ## campaigns of the simulator under 20 seeds that nobody has tried
	@$(MAKE) --no-print-directory sim TEST=campaigns SEED=$$(date +%s) SEEDS=20

museum: deps ## plant each bug of the museum in the simulator until it is seen: all, or EXHIBIT=name
	HOLDFAST_MUSEUM_EXHIBIT=$(EXHIBIT) HOLDFAST_SIM_SEED=$(SEED) \
	    HOLDFAST_MUSEUM_WRITE=$(if $(EXHIBIT),,$(CURDIR)/docs/TESTING.md) \
	    $(sim_test) --test museum every_exhibit -- --ignored --nocapture

# Every report, timeline and log stays in target/jepsen.
jepsen: deps ## MINUTES=5 of runs over real processes, under random faults, each history judged
	cargo build --workspace --bins
	$(bins)/jepsen run --minutes $(or $(MINUTES),5) \
	    $(if $(filter command line environment,$(origin SEED)),--seed $(SEED)) $(JEPSEN)

failover: deps ## how long nobody can write when the leader is struck, into docs/BENCHMARKS.md
	cargo build --release --workspace --bins
	target/release/jepsen failover --write docs/BENCHMARKS.md --plot docs/failover.svg $(JEPSEN)

# Without a disk, or every put would wait for one.
differential: deps ## N=100000 random requests to an etcd 3.5 and to Holdfast: every answer is compared
	cargo build --workspace --bins
	TMPDIR=$$(test -w /dev/shm && echo /dev/shm || echo "$${TMPDIR:-/tmp}") \
	    $(bins)/differential --seed $(SEED) --requests $(or $(N),100000)

bench: deps ## measure this build, and etcd where it is installed, into docs/BENCHMARKS.md
	cargo build --release --workspace --bins
	cargo run --release -p holdfast-jepsen --bin bench -- $(if $(BENCH),$(BENCH),--write)

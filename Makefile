# Thin: names the promised targets and says which tool does them. The build itself is meson's.
BUILD        ?= build
PREFIX       ?= /usr/local
FUZZ_SECONDS ?= 60
TORTURE_HOURS ?= 4
PYTEST_ARGS  ?=
BENCH_ARGS   ?=

MAKEFLAGS += --no-print-directory

# What a build with sanitizers runs against real servers: enough to come by every thread, few enough to be patient.
SAMPLE = tests/integration/test_basic.py tests/integration/test_changes.py

all: $(BUILD)/pgtide ## build pgtide in ./build

$(BUILD)/pgtide: ready-build
	@ninja -C $(BUILD) src/bin/pgtide
	@ln -sf src/bin/pgtide $@

ready-build:
	@tools/bootstrap build
	@tools/configure $(BUILD) -Dtests=false

demo: all ## a live database is copied, followed and compared, on two throw-away servers
	@tools/bootstrap build demo
	@tools/demo $(BUILD)/pgtide

test: ## everything: unit, style, fuzz corpora, integration; ends with "N passed, N failed"
	@tools/bootstrap build test
	@tools/configure build-test -Dfaults=true
	@tools/run_tests build-test tests/integration $(PYTEST_ARGS)

unit: ## the tests that need no server
	@tools/bootstrap build test
	@tools/configure build-test -Dfaults=true
	@tools/run_tests build-test

lint: ## clang, clang-format, clang-tidy, cppcheck, shellcheck, layers, texts
	@tools/bootstrap build test lint
	@CC=clang tools/configure build-lint -Dfaults=true --fatal-meson-warnings
	@tools/lint build-lint

asan: ## unit tests and a sample of the others with the address and undefined behaviour sanitizers
	@tools/bootstrap build test
	@tools/configure build-asan -Dfaults=true -Db_sanitize=address,undefined
	@tools/run_tests build-asan $(SAMPLE) $(PYTEST_ARGS)

tsan: ## the same with the thread sanitizer
	@tools/bootstrap build test
	@tools/configure build-tsan -Dfaults=true -Db_sanitize=thread
	@tools/run_tests build-tsan $(SAMPLE) $(PYTEST_ARGS)

fuzz: ## every fuzz target for FUZZ_SECONDS (60)
	@tools/bootstrap build fuzz
	@CC=clang tools/configure build-fuzz -Dtests=false -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
	@tools/fuzz build-fuzz $(FUZZ_SECONDS)

versions: ## one rich scenario over all pairs of PostgreSQL 10 to 18, fetched by npm and apt where they are not there
	@tools/bootstrap build test
	@tools/configure build-test -Dfaults=true
	@ninja -C build-test src/bin/pgtide
	@PGTIDE_FULL=1 PGTIDE_BINARY=build-test/src/bin/pgtide /usr/bin/python3 -m pytest -n 2 -q tests/integration/test_versions.py $(PYTEST_ARGS)

torture: ## random histories under random mishaps for TORTURE_HOURS (4); PYTEST_ARGS=--seed=N repeats a plan
	@tools/bootstrap build test
	@tools/configure build-test -Dfaults=true
	@ninja -C build-test src/bin/pgtide
	@PGTIDE_TORTURE_SECONDS=$$(awk 'BEGIN { print int($(TORTURE_HOURS) * 1200) }') PGTIDE_BINARY=build-test/src/bin/pgtide \
		/usr/bin/python3 -m pytest -x -s tests/integration/test_torture.py $(PYTEST_ARGS)

scale: ## 100,000 tables, rows of 500 MB, 200,000 large objects: needs 40 GB of disk (TMPDIR) and an hour
	@tools/bootstrap build test
	@tools/configure build-test -Dfaults=true
	@ninja -C build-test src/bin/pgtide
	@PGTIDE_SCALE=full TMPDIR=$${TMPDIR:-/tmp} /usr/bin/python3 -m pytest -q -s tests/integration/test_scale.py --pgtide build-test/src/bin/pgtide

bench: ## pgtide beside its peers, in one run; about two hours. BENCH_ARGS='--only narrow --runs 1' takes minutes
	@tools/bootstrap build test bench
	@tools/configure build-bench -Dtests=false -Dbuildtype=release
	@ninja -C build-bench src/bin/pgtide
	@bench/run build-bench/src/bin/pgtide $(BENCH_ARGS)

install: all ## below PREFIX (/usr/local); DESTDIR works
	@meson configure $(BUILD) --prefix $(abspath $(PREFIX))
	@ninja -C $(BUILD) src/bin/pgtide src/bin/pgtide.1
	@meson install -C $(BUILD) --no-rebuild

clean: ## remove all build folders
	rm -rf build build-test build-lint build-asan build-tsan build-fuzz build-bench

help: ## this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

.PHONY: all ready-build demo test unit lint asan tsan fuzz versions torture scale bench install clean help $(BUILD)/pgtide

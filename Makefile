# Everything that the build and the tests need goes into .tools/ and target/, inside the checkout.
.DEFAULT_GOAL := help
SHELL := /bin/bash

RUST_MIN := 1.90
VENV     := .tools/venv
STAMP    := .tools/setup.stamp

.PHONY: help setup cargo-version build demo plugins spectra coverage solvers steady bench bench-compare bench-peers bench-profile bench-scaling crash schema test fuzz supernovae

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: cargo-version $(STAMP) ## Check cargo and make the Python environment in .tools/ (runs once)

build: setup ## Build the whole workspace
	cargo build --workspace

DEMO := target/demo
ENCODE = target/debug/gfe encode datasets/digits.h5:/images -m $(DEMO)/decoder.safetensors --rows 1437..1797 --force

demo: setup ## Train a decoder on 1,437 digits, encode the 360 others with two solvers, draw them
	cargo build
	@mkdir -p $(DEMO)
	target/debug/gfe train datasets/demo.toml -o $(DEMO)/decoder.safetensors --force
	$(ENCODE) --solver amd -o $(DEMO)/amd.h5 --json > $(DEMO)/amd.json
	$(ENCODE) --solver ptc --reconstruction -o $(DEMO)/ptc.h5 --json > $(DEMO)/ptc.json
	@$(VENV)/bin/python datasets/compare.py amd=$(DEMO)/amd.json ptc=$(DEMO)/ptc.json
	target/debug/gfe plot reconstructions $(DEMO)/ptc.h5 --input datasets/digits.h5:/images -o $(DEMO)/reconstructions.png --force

PLUGINS := target/plugins

plugins: setup ## Build the plugins into target/plugins: set GFE_PLUGIN_PATH to it
	cargo build --release -p gfe-plugin-conv -p gfe-plugin-dense -p gfe-plugin-datasets
	@mkdir -p $(PLUGINS)
	$(MAKE) --no-print-directory -C plugins/spectral-lines OUT=$(CURDIR)/$(PLUGINS)/libspectral-lines.so
	@cp target/release/libconv.so target/release/libdense.so target/release/libdatasets.so $(PLUGINS)/
	@for kind in idx npy cifar synthetic; do ln -sf libdatasets.so $(PLUGINS)/lib$$kind.so; done

SPECTRA := target/spectra

spectra: plugins ## Find the lines of 1,000 simulated spectra from blind guesses, and compare with the truth
	cargo build --release
	@mkdir -p $(SPECTRA)
	$(VENV)/bin/python plugins/spectral-lines/simulate.py $(SPECTRA)/spectra.h5 1000
	GFE_PLUGIN_PATH=$(PLUGINS) target/release/gfe encode $(SPECTRA)/spectra.h5:/flux --decoder spectral-lines \
	    --decoder-config plugins/spectral-lines/config.json --sigma /sigma --context /redshift --context /resolution \
	    --starts 8 --uncertainty -o $(SPECTRA)/lines.h5 --force
	$(VENV)/bin/python plugins/spectral-lines/judge.py $(SPECTRA)/lines.h5 $(SPECTRA)/spectra.h5

LINES_OF := $(SPECTRA)/coverage

coverage: plugins ## Print how often error bars hold the truth: a dense decoder, and spectral lines
	@echo '| data | within | chi2/d | p | dof |'
	cargo test -p gfe-encode --test coverage -- --nocapture --test-threads 1 | grep -o '|.*|'
	cargo build
	@mkdir -p $(LINES_OF)
	@echo '| ratio | t_end | with error bars | within | chi2/d | p | dof | z_std |'
	@for ratio in 1000 100 30 10; do \
	    $(VENV)/bin/python plugins/spectral-lines/coverage.py simulate $(LINES_OF)/spectra.h5 $$ratio 0.1; \
	    for t_end in inf 10.01; do \
	        GFE_PLUGIN_PATH=$(PLUGINS) target/debug/gfe encode $(LINES_OF)/spectra.h5:/flux --decoder spectral-lines \
	            --decoder-config plugins/spectral-lines/coverage.json --sigma /sigma --context /redshift --context /resolution \
	            --uncertainty --t-end $$t_end --fail-above 1 -o $(LINES_OF)/lines.h5 --force 2> $(LINES_OF)/encode.log || exit 1; \
	        $(VENV)/bin/python plugins/spectral-lines/coverage.py judge $(LINES_OF)/lines.h5 $(LINES_OF)/spectra.h5; \
	    done; \
	done
SUPERNOVAE := target/supernovae

supernovae: setup ## Train on spectra of supernovae, encode those of other objects, write benches/supernovae/README.md's tables and figures
	cargo build --release
	@[ -e target/datasets/supernovae-test.h5 ] || datasets/fetch.sh supernovae
	@mkdir -p $(SUPERNOVAE)
	@cmp -s benches/supernovae/requirements.txt $(SUPERNOVAE)/requirements.txt || { python3 -m venv $(SUPERNOVAE)/venv \
	    && $(SUPERNOVAE)/venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir -r benches/supernovae/requirements.txt \
	    && cp benches/supernovae/requirements.txt $(SUPERNOVAE)/; }
	@for part in train test; do \
	    $(SUPERNOVAE)/venv/bin/python benches/supernovae/prepare.py target/datasets/supernovae-$$part.h5 $(SUPERNOVAE)/$$part.h5 || exit; done
	$(SUPERNOVAE)/venv/bin/python benches/supernovae/run.py target/release/gfe $(SUPERNOVAE) benches/supernovae/README.md

BENCHES := products steps encode train

bench: setup ## Measure products, steps, encoding and training, and what the plugin interface costs; table in target/bench/: ten minutes
	cargo bench $(addprefix --bench ,$(BENCHES))
	@$(VENV)/bin/python benches/table.py
	cargo bench --bench plugin

bench-compare: setup ## Measure two commits in alternation: make bench-compare BASE=COMMIT [HEAD=COMMIT]
	@[ -n "$(BASE)" ] || { echo "say which commit to compare with: make bench-compare BASE=COMMIT [HEAD=COMMIT]" >&2; exit 2; }
	@[ "$(HEAD)" != . ] || cargo build --release
	$(VENV)/bin/python benches/compare.py $(BASE) $(or $(HEAD),HEAD)

TRAINING := baselines efficiency autoencoder solvers gradients orders single-pass fashion shift
.PHONY: $(addprefix train-,$(TRAINING)) train-all

train-all: $(addprefix train-,$(TRAINING)) ## Every experiment on training: hours; each also by itself, train-efficiency, ...

$(addprefix train-,$(TRAINING)): train-%: setup
	cargo build --release
	@for set in mnist fashion; do [ -e target/datasets/$$set-train.h5 ] || datasets/fetch.sh $$set; done
	$(VENV)/bin/python benches/training/run.py $*

train-cost: setup ## Measure the CPU time of a training image against PyTorch, in alternation
	cargo build --release
	@[ -e target/datasets/mnist-train.h5 ] || datasets/fetch.sh mnist
	benches/peers/setup.sh
	target/peers/python benches/peers/train_torch.py

PEERS_FLAGS ?=

bench-peers: setup ## Measure the CPU time of encoding against PyTorch, the authors' algorithm and SciPy, in alternation: half an hour
	cargo build --release
	@[ -e target/datasets/mnist-test.h5 ] || datasets/fetch.sh mnist
	benches/peers/setup.sh
	target/peers/python benches/peers/encode.py $(PEERS_FLAGS)

solvers: setup ## Print the table of solvers: what each costs and reaches on 40 digits
	cargo build --release
	@$(VENV)/bin/python datasets/solvers.py target/release/gfe

steady: setup ## Print what ptc costs on real and hard decoders, and where it stops
	cargo test --release --test steady -- --nocapture --test-threads 1

schema: ## Write the schema of run files anew, from the table of keys
	@mkdir -p schemas
	cargo run --quiet -- config schema > schemas/run.schema.json.new && mv schemas/run.schema.json.new schemas/run.schema.json

bench-profile: setup ## Measure what part of encoding is matrix products and how fast these are, by Linux's perf: four minutes
	cargo build --release
	@[ -e target/datasets/mnist-test.h5 ] || datasets/fetch.sh mnist
	@$(VENV)/bin/python benches/hotspots.py

bench-scaling: setup ## Measure how cost grows with threads, samples, values and latents: an hour
	cargo build --release
	@[ -e target/datasets/mnist-train.h5 ] || datasets/fetch.sh mnist
	@$(VENV)/bin/python benches/scaling.py

crash: setup ## Strike a run over 20,000 rows at every write, and kill it at 100 random moments: a quarter of an hour
	GFE_SOAK=1 cargo test --test crash

test: setup ## Check the format, lint, run every test and build the documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps

FUZZED := idx manifest npy run_file safetensors
FUZZ_SECONDS := 60

# Sanitizers are unstable options of the compiler: allowed here, so that no nightly one is needed.
fuzz: setup ## Feed random bytes to every parser of files for a minute each
	@cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --version 0.13.2 --locked
	cd tests/fuzz && for target in $(FUZZED); do mkdir -p corpus/$$target && \
	    RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . $$target corpus/$$target seeds/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -timeout=5 || exit 1; \
	done

cargo-version:
	@cargo --version 2>/dev/null | awk -v want=$(RUST_MIN) ' \
	    { split($$2, have, "."); split(want, min, "."); ok = have[1] > min[1] || (have[1] == min[1] && have[2] + 0 >= min[2] + 0) } \
	    END { exit !ok }' \
	|| { echo "cargo $(RUST_MIN) or newer is needed: install Rust with rustup, or run 'rustup update'" >&2; exit 1; }

# The environment holds the cmake that builds HDF5 (see .cargo/config.toml) and the libraries that read what gfe writes.
$(STAMP): tests/requirements.txt
	@mkdir -p .tools
	@python3 -m venv $(VENV) >.tools/venv.log 2>&1 || $(MAKE) --no-print-directory install-venv
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir -r tests/requirements.txt
	@{ command -v h5dump && command -v h5repack && command -v strace; } >/dev/null || $(MAKE) --no-print-directory install-tools
	@touch $@

# With these the tests read what gfe writes by HDF5 1.10, and watch which files it opens.
.PHONY: install-tools
install-tools:
	@sudo=; if [ "$$(id -u)" -ne 0 ]; then sudo=sudo; fi; \
	if command -v apt-get >/dev/null && { [ -z "$$sudo" ] || command -v sudo >/dev/null; }; then \
	    $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq hdf5-tools strace; \
	else \
	    echo "h5dump, h5repack or strace is missing: install hdf5-tools (of HDF5 1.10) and strace; only tests need them" >&2; \
	fi

# Debian and Ubuntu keep the venv module in a package of its own.
.PHONY: install-venv
install-venv:
	@sudo=; if [ "$$(id -u)" -ne 0 ]; then sudo=sudo; fi; \
	if command -v apt-get >/dev/null && { [ -z "$$sudo" ] || command -v sudo >/dev/null; }; then \
	    $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv && python3 -m venv --clear $(VENV); \
	else \
	    cat .tools/venv.log >&2; echo "python3 cannot make a virtual environment: install its venv module (python3-venv)" >&2; exit 1; \
	fi

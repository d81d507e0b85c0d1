# Everything here needs Python >= 3.11 and its venv module, nothing else: the environment lives in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PYTEST := $(BIN)/python -m pytest

# $(call tier,MARKERS,OPTIONS): pytest's exit code 5 means that nothing was collected. A tier without tests is
# no failure, but it is said aloud.
define tier
@status=0; $(PYTEST) -m "$(1)" $(2) $(ARGS) || status=$$?; \
if [ $$status -eq 5 ]; then echo "make: no test is marked '$(1)': nothing was tested here"; else exit $$status; fi
endef

# $(GPU_EXTRA) is the extra for the CUDA that the driver knows: gpu (CUDA 12) or gpu-cuda13.
GPU_EXTRA ?= gpu

.PHONY: help demo test lint types unit long oracle docs mutants gpu gpu-sanitize bench bench-gpu clean

help:
	@echo "make demo    train and evaluate on a small image folder made on the spot"
	@echo "make test    lint, types and the default tests"
	@echo "make lint    ruff: rules and formatting"
	@echo "make types   mypy, strict"
	@echo "make unit    the default tests alone; ARGS='-k name' goes to pytest"
	@echo "make long    the tests that take longer"
	@echo "make oracle  the comparisons with PyTorch (installs it)"
	@echo "make docs    builds the documentation into site/, strictly (installs mkdocs)"
	@echo "make mutants plants mistakes in the CUDA sources and sees that tests notice; part of make long"
	@echo "make gpu     the tests that need a GPU (installs CuPy; GPU_EXTRA=gpu-cuda13 for CUDA 13)"
	@echo "make gpu-sanitize  the same under NVIDIA's compute-sanitizer, which comes with the CUDA toolkit"
	@echo "make bench   networks, convolutions, latency and memory beside PyTorch (installs it); ARGS='...' goes to the benchmark"
	@echo "make bench-gpu  kernels, convolutions and networks on a GPU, beside PyTorch (installs both; ARGS, GPU_EXTRA)"
	@echo "make clean   removes the environment, builds and caches"

demo: $(VENV)/.run
	$(BIN)/cpcnn demo

test: lint types unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy cpcnn cli

unit: $(VENV)/.test
	$(PYTEST) $(ARGS)

long: $(VENV)/.long
	$(call tier,long and not oracle and not gpu,--hypothesis-profile=long)

oracle: $(VENV)/.oracle
	$(call tier,oracle and not gpu,)

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

mutants: $(VENV)/.test
	$(BIN)/python tests/kernels/try_mutants.py $(ARGS)

gpu: $(VENV)/.gpu
	$(call tier,gpu,)

gpu-sanitize: $(VENV)/.gpu
	@command -v compute-sanitizer >/dev/null || { \
	  echo "make: compute-sanitizer is missing. It comes with the CUDA toolkit: add its bin folder to PATH" >&2; exit 1; }
	compute-sanitizer --tool memcheck --error-exitcode 9 $(PYTEST) -m gpu tests/device $(ARGS)
	compute-sanitizer --tool racecheck --error-exitcode 9 $(PYTEST) -m gpu tests/device $(ARGS)

bench: $(VENV)/.oracle
	$(BIN)/python benchmarks/cpu_vs_torch.py $(ARGS)

bench-gpu: $(VENV)/.bench-gpu
	$(BIN)/python benchmarks/gpu_vs_torch.py $(ARGS)

clean:
	rm -rf $(VENV) build dist cpcnn.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find cpcnn cli tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp is written only when its step succeeded, so an interrupted installation is done again.
$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: no '$(PYTHON)' found. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $$("$(PYTHON)" --version) is too old, cpcnn needs 3.11 or newer. Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' lacks the venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.created pyproject.toml setup.py
	$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml setup.py
	$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.long: $(VENV)/.created pyproject.toml setup.py
	$(PIP) -e '.[test,long]'
	@touch $@ $(VENV)/.test $(VENV)/.run

$(VENV)/.docs: $(VENV)/.created pyproject.toml setup.py
	$(PIP) -e '.[docs]'
	@touch $@ $(VENV)/.run

$(VENV)/.gpu: $(VENV)/.created pyproject.toml setup.py
	$(PIP) -e '.[test,$(GPU_EXTRA)]'
	@touch $@ $(VENV)/.test $(VENV)/.run

# in one command, so that pip finds CUDA libraries that suit CuPy and PyTorch, or says that there are none
$(VENV)/.bench-gpu: $(VENV)/.created pyproject.toml setup.py
	$(PIP) -e '.[test,oracle,$(GPU_EXTRA)]'
	@touch $@ $(VENV)/.test $(VENV)/.run $(VENV)/.oracle $(VENV)/.gpu

$(VENV)/.oracle: $(VENV)/.created pyproject.toml setup.py
	$(PIP) -e '.[test,oracle]'
	@touch $@ $(VENV)/.test $(VENV)/.run

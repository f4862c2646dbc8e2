# Two commands: `make reproduce` and `make test`. Both make .venv first, once; `make help` lists the rest.
PYTHON      ?= python3
# Another package index for torch alone. Where the default index brings gigabytes of CUDA to a machine without a GPU,
# name the index of CPU builds that PyTorch's installation page gives.
TORCH_INDEX ?=

PROFILE     ?= small
NOTEBOOKS   ?=
JOBS        ?= 1
RECOMPUTE   ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN   := .venv/bin
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile
READY := .venv/.ready
DOCS  := .venv/.docs
LAB   := .venv/.lab

.DEFAULT_GOAL := help
.PHONY: help reproduce test test-fast lab notebooks benchmark kills fuzz docs docs-check lint lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables of reproduce: PROFILE=smoke|small|paper (now $(PROFILE))  NOTEBOOKS=02,03  JOBS=2  RECOMPUTE=1"
	@echo "Variables of the set-up: PYTHON=python3.12  TORCH_INDEX=<index with other builds of torch>"

# The lock first and alone, so that the project itself can add nothing to it; setuptools comes with the lock.
$(READY): requirements.lock pyproject.toml
	@echo "setting up .venv (a few minutes, once)"
	@$(PYTHON) -m venv .venv
	@$(if $(TORCH_INDEX),$(BIN)/pip install -qq --index-url "$(TORCH_INDEX)" "$$(grep '^torch==' requirements.lock)")
	@$(BIN)/pip install -qq -r requirements.lock
	@$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

reproduce: $(READY)  ## run every notebook and write figures and tables
	@$(BIN)/python -m studies reproduce --profile $(PROFILE) --jobs $(JOBS) \
	  $(if $(NOTEBOOKS),--notebooks "$(NOTEBOOKS)") $(if $(filter-out 0,$(RECOMPUTE)),--recompute)

# Two processes of one thread each: torch's own threads gain nothing on data as small as the tests'. nbval runs the committed
# notebooks again and compares what they print. They share one run store, empty at the start: this really trains. The notebooks
# that train most come first, so that none of them is left for the end; 03 and 05 read what 02 trains.
MOST_TRAINING := 04 11 12 09 02 03 07 05
SLOW_NOTEBOOKS = $(foreach number,$(MOST_TRAINING),$(wildcard notebooks/$(number)_*.ipynb))

test: $(READY)  ## all tests, then the committed notebooks run once more and compared (nbval)
	@$(PYTEST)
	@store=$$(mktemp -d) && trap 'rm -rf "$$store"' EXIT INT TERM && \
	  RDCORE_RUNS="$$store" TQDM_DISABLE=1 $(PYTEST) --timeout 3600 \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout 1800 --nbval-sanitize-with tests/nbval_sanitize.cfg \
	  --no-loadscope-reorder $(SLOW_NOTEBOOKS) $(filter-out $(SLOW_NOTEBOOKS),$(wildcard notebooks/*.ipynb))

test-fast: $(READY)  ## the fast tests: no notebook, no cluster, no kill
	@$(PYTEST) -m "not slow"

lab: $(LAB)  ## open the notebooks in JupyterLab, with this project's kernel
	@$(BIN)/jupyter lab --notebook-dir=notebooks

notebooks: $(READY)  ## run the notebooks on `small` and write the results into notebooks/
	@$(BIN)/python -m studies notebooks execute --jobs $(JOBS) $(if $(NOTEBOOKS),--notebooks "$(NOTEBOOKS)")

benchmark: $(READY)  ## time every stage against this machine's limits (some minutes, quiet machine)
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.serving

$(LAB): $(READY)
	@echo "adding JupyterLab to .venv"
	@$(BIN)/pip install -qq -c requirements.lock --no-build-isolation -e '.[lab]'
	@$(BIN)/python -m ipykernel install --sys-prefix --name python3 --display-name "Python 3 (rdcore)" >/dev/null
	@touch $@

$(DOCS): $(READY)
	@echo "adding the extra docs to .venv"
	@$(BIN)/pip install -qq -c requirements.lock --no-build-isolation -e '.[docs]'
	@touch $@

docs: $(DOCS)  ## the site of notebooks, guides and API reference: build/site/index.html
	@$(BIN)/python docs/site/build.py

docs-check: docs  ## open every page of the site in a headless Chromium (needs chromium and chromedriver)
	@$(BIN)/python tests/site/check.py

fuzz: $(READY)  ## change valid files in 250,000 ways and hand them to every reader (some minutes; Linux)
	@$(BIN)/pip install -qq -c requirements.lock --no-build-isolation -e '.[fuzz]'
	@$(BIN)/python tests/harness/fuzz.py --out figures/tables/fuzz.csv

kills: $(READY)  ## kill everything at random moments and compare what the next call leaves (long: some 80 kills)
	@$(BIN)/python tests/harness/kill.py --out figures/tables/kills.csv

lint: $(READY)  ## ruff
	@$(BIN)/ruff check .

# One list for Python 3.11 to 3.13. What torch brings along for NVIDIA's cards is left to pip, which knows the machine's build.
lock: $(READY)  ## write requirements.lock again from pyproject.toml
	@$(BIN)/pip install -qq uv
	@mkdir -p build && echo 'torch==2.13.0' > build/torch.pin
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --extra test -c build/torch.pin \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml \
	  | grep -vE '^(nvidia-|cuda-|triton)' > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean:  ## remove .venv and everything generated but runs/ and data/raw/
	rm -rf .venv build figures/small .pytest_cache .ruff_cache .hypothesis *.egg-info
	find rdcore tests -name __pycache__ -type d -prune -exec rm -rf {} +

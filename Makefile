# Each target makes .venv ready first (see tools/setup_env.py); once that is done it takes no time.
PYTHON ?= python3
TORCH ?=
KIT = .venv/bin/python -m inpaintkit
# For effects and grid: which works, questions, seeds and profile.
PAPER ?= all
QUESTION ?= all
SEEDS ?=
PROFILE ?=
RUN ?=
REPO ?=
CHOSEN = --paper $(PAPER) --question $(QUESTION) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(PROFILE),--profile $(PROFILE))

.PHONY: help setup dev course check test lab effects grid report bench lock notebooks badges
help:
	@echo "make course    run every notebook on the faces and photographs that ship with the packages; ends with a page of pictures"
	@echo "make check     style, types and the quick tests: one minute"
	@echo "make test      run every test"
	@echo "make lab       open copies of the notebooks in JupyterLab (my_notebooks/)"
	@echo "make effects   run the questions of the demo, two at a time, record them, test the claims; can be interrupted"
	@echo "               make effects PAPER=vae QUESTION=slips SEEDS='0 1'"
	@echo "make grid      plan many runs: make grid PROFILE=paper PAPER=ssrgan; RUN=1 runs them; RUN=slurm gives them to Slurm"
	@echo "make report    write docs/reports and the README's map from results/"
	@echo "make bench     time the package's own code against the plain alternatives"
	@echo "make badges    for a fork: REPO=owner/name in every badge, link and first cell"
	@echo "options: PYTHON=python3.12 (which Python), TORCH=cpu (small build without CUDA; TORCH=default: back)"

# `setup`: what the notebooks need; `dev`: and what the tests need.
setup:
	@TORCH=$(TORCH) $(PYTHON) tools/setup_env.py
dev:
	@TORCH=$(TORCH) $(PYTHON) tools/setup_env.py dev

course: setup
	@$(KIT) course

# `check`: style, types, and the tests without a mark (pyproject.toml lists the marks). `test`: every test; the longest file
# comes first. Then the stored outputs of every notebook against fresh ones. Three of them run on an imitated older processor:
# what they promise must not depend on the machine, and the stored outputs are those of a newer one. Two workers with one
# thread each get more out of two cores than one with two threads. Runs go to runs/test, never to a student's.
STYLE = .venv/bin/ruff check . && .venv/bin/ruff format --check --quiet . && .venv/bin/pyrefly check --summary=none
TESTS = .venv/bin/python -m pytest -q -p no:nbval -n 2
NBVAL = rm -rf runs/test && INPAINTKIT_RUNS="$(CURDIR)/runs/test" OMP_NUM_THREADS=1 TQDM_DISABLE=1 \
	.venv/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --nbval --nbval-current-env \
	--nbval-cell-timeout=300 --durations=5
check: dev
	@$(STYLE)
	@$(TESTS) -m "not (slow or grid or browser or gpu)"
test: dev
	@$(STYLE)
	@$(TESTS) --dist loadfile --no-loadscope-reorder --durations=5 tests/test_papermill.py tests
	@$(NBVAL) notebooks/04_*.ipynb notebooks/01_*.ipynb
	@export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 && \
		$(NBVAL) notebooks/02_*.ipynb notebooks/03_*.ipynb notebooks/00_*.ipynb
	@rm -rf runs/test

lab: setup
	@$(KIT) lab

effects: setup
	@$(KIT) effects $(CHOSEN)

grid: setup
	@$(KIT) grid $(CHOSEN) $(if $(RUN),--run) $(if $(filter slurm,$(RUN)),--slurm)

report: setup
	@$(KIT) report
.PHONY: readme
readme: report

bench: setup
	@for file in benchmarks/*.py; do .venv/bin/python $$file || exit 1; done

# For maintainers: requirements.lock after a change of the lists (UPGRADE=1: everything anew); the stored outputs;
# the owner and name of a fork.
lock: setup
	@tools/lock.sh $(if $(UPGRADE),--upgrade)

notebooks: setup
	@.venv/bin/python tools/refresh_notebooks.py

badges: setup
	@.venv/bin/python tools/badges.py $(REPO)

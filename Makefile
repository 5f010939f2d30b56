# Sojourn. `make help` lists the targets. `make demo` and `make test` set themselves up on a fresh machine; nothing needs root.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-gpu bench-gpu check format proto bench-peers mutants clean

MINUTES ?= 3
# Return of HalfCheetah after three minutes on two idle cores; 12,139 after 1,000,000 steps.
EXPECTED := 500
# Python to build .venv with; empty: the first of python3, python3.13, python3.12, python3.11 that is new enough.
PYTHON ?=
# PyTorch's CPU builds. Asked only if the configured package index has none.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := .venv/bin
PACKAGES := protos sojourn replay actors learners
# Names the set of packages in .venv: another set of pins makes another stamp, and `make` sets up again.
STAMP := .venv/set-up-$(shell cat constraints.txt pyproject.toml | cksum | cut -d' ' -f1)
# Names the sources of the compiled kernels: other sources are compiled before a run would do it in its first seconds.
KERNELS := .venv/kernels-$(shell grep -l '^@kernel' replay/*.py sojourn/*/*.py | xargs cat | cksum | cut -d' ' -f1)
TORCH := $(shell grep '^torch==' constraints.txt)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16
	@echo "  MINUTES=$(MINUTES) of HalfCheetah in \`make demo\`; PYTHON=python3.12 chooses an interpreter"

setup: $(KERNELS)  ## .venv with pinned packages and compiled kernels (the others do it too)

$(STAMP):
	@echo "Setting up .venv: about 0.6 GB to fetch (0.2 GB of it is CPU PyTorch), 2.2 GB on disk, one to five minutes; once."
	@test -x $(BIN)/python || { python=$$(for name in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$name && break; done) \
		|| { echo "Sojourn needs Python 3.11, 3.12 or 3.13: install one (Debian: apt install python3 python3-venv), or make PYTHON=path"; exit 1; }; \
		echo "1/4 $$($$python --version) ($$(command -v $$python)) -> .venv"; \
		$$python -m venv .venv || { rm -rf .venv; echo "$$python cannot make a virtual environment (Debian: apt install python3-venv)"; exit 1; }; }
	@echo "2/4 $(TORCH), the CPU build"
	@$(PIP) --quiet setuptools
	@$(PIP) --no-deps '$(TORCH)+cpu' 2>/dev/null || $(PIP) --no-deps --index-url $(TORCH_INDEX) '$(TORCH)'
	@echo "3/4 the other packages"
	@$(PIP) --only-binary :all: --no-build-isolation --editable '.[dev]'
	@rm -f .venv/set-up-*
	@touch $@

$(KERNELS): $(STAMP)
	@echo "4/4 compiling the kernels of replay and acting"
	@$(BIN)/python -m replay.kernels
	@$(BIN)/python -m sojourn.algorithms.warm_up
	@rm -f .venv/kernels-*
	@touch $@

demo: $(KERNELS)  ## Pendulum solved in a minute, then HalfCheetah for MINUTES, with plots and video
	@echo "Pendulum-v1: from random swings to standing upright. Expected return -200 or better."
	@$(BIN)/sojourn train configs/pendulum.yaml run.minutes=1 evaluation.video=true
	@echo "HalfCheetah-v5 with SAC, MINUTES=$(MINUTES). Expected return after three minutes on two idle cores: $(EXPECTED)."
	@$(BIN)/sojourn train configs/halfcheetah.yaml run.minutes=$(MINUTES) run.expected_return=$(EXPECTED) evaluation.video=true \
		evaluation.every_env_steps=2_500 evaluation.episodes=3 tables.replay.limiter.min_size=1_000

test: $(KERNELS)  ## every test; fixed seeds, at most 8 minutes on 2 cores
	@folder=$$(mktemp -d -t sj.XXXXXX) && trap 'rm -rf "$$folder"' EXIT && \
		TMPDIR="$$folder" $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# A machine with a GPU may have its own torch, no network and nothing that could be set up: then PYTHON=python3, and only build/ is written.
GPU_PYTHON = $(or $(PYTHON),$(BIN)/python)
GPU_CACHES = PYTHONDONTWRITEBYTECODE=1 TORCHINDUCTOR_CACHE_DIR=$(CURDIR)/build/gpu/inductor TRITON_CACHE_DIR=$(CURDIR)/build/gpu/triton

test-gpu:  ## what needs a GPU, tested; sets nothing up (PYTHON=python3)
	@devices=$$($(GPU_PYTHON) -c 'import torch; print(torch.cuda.device_count())'); if test $$devices = 0; \
		then echo "test-gpu: torch sees no CUDA device here: nothing is tested"; \
		else $(GPU_CACHES) $(GPU_PYTHON) -m pytest -c tests/gpu/pytest.ini tests/gpu; fi

bench-gpu:  ## updates a second on a GPU, in every way, beside Stable-Baselines3's; sets nothing up (PYTHON=python3)
	@$(GPU_CACHES) $(GPU_PYTHON) -m benchmarks.gpu

check: $(STAMP)  ## format, lint, types, import contracts, generated code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(MAKE) --no-print-directory proto PROTO_OUT="$$fresh" && \
		for file in protos/*_pb2*; do cmp "$$fresh/$$file" "$$file" || { echo "$$file is not what protos/*.proto give: make proto"; exit 1; }; done

format: $(STAMP)  ## format and sort imports
	@$(BIN)/ruff check --fix --select I .
	@$(BIN)/ruff format .

PROTO_OUT ?= .
proto: $(STAMP)  ## regenerate protos/*_pb2* from protos/*.proto
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=$(PROTO_OUT) --pyi_out=$(PROTO_OUT) --grpc_python_out=$(PROTO_OUT) protos/*.proto

BENCHES ?=
bench-peers: $(KERNELS)  ## other programs at the same work, beside ours; environments of their own in build/peers, 8 GB (BENCHES="replay")
	@TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m benchmarks.peers $(BENCHES)

# What plants the mistakes; apart from .venv, since nothing else needs it.
MUTMUT := mutmut==3.8.1 libcst==1.9.0
PARTS ?=
mutants: $(KERNELS)  ## would the tests notice a mistake in a formula? writes docs/mutants.md (PARTS="limiter targets")
	@test -d build/mutmut || $(PIP) --quiet --no-deps --only-binary :all: --target build/mutmut $(MUTMUT)
	@PYTHONPATH=build/mutmut $(BIN)/python -m benchmarks.mutants $(PARTS)

clean:  ## remove what building and testing leave behind (not .venv, not runs/)
	@rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .numba_cache .venv/kernels-*
	@find $(PACKAGES) tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

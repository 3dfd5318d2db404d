# pawflow: `make run` trains a model on this machine, `make test` checks the project. Both set themselves up.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RECIPE ?= sample
MODEL ?=
UI_PORT ?= 5000
SERVE_PORT ?= 5001
WEB_PORT ?= 5002
TENSORBOARD_PORT ?= 6006
RUN ?=
DOCKER ?= docker
BASE ?= python:3.11-slim-bookworm
IMAGES ?= data train serve tracking
PAWFLOW_IMAGES ?= pawflow/python-
BUILD_ARGS ?=
VERSION := 0.1.0
UV_VERSION := 0.13.8
UV := .uv/bin/uv
LOCKS := infra/docker/locks
# Hashes of packages, published checksums, and the compiled pipeline, which names secrets by the hundred.
NO_SECRETS := \.lock$$|\.png$$|^tests/pipeline/golden/|^components/train/weights\.py$$|^components/download/sources/(cifar10|petimages)\.py$$
# Names of what is kept elsewhere, and what tests call a secret.
NAMES_OF_SECRETS := : "?MLFLOW_TRACKING_PASSWORD|: "?AWS_SECRET_ACCESS_KEY|: "?pawflow-|"not-a-secret"|api_key="secret"
BIN := .venv/bin

export UV_PYTHON_DOWNLOADS := never
export MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help
help: ## List every target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

.PHONY: setup
setup: .venv/.ready ## Make the locked environment in .venv

$(UV):
	@echo "fetching uv $(UV_VERSION)"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target .uv uv==$(UV_VERSION)

# The stamp is written last, so an environment that a killed set-up left half-made is made again.
.venv/.ready: requirements.lock pyproject.toml Makefile | $(UV)
	@echo "setting up .venv from requirements.lock (about 3 GB the first time, minutes)"
	@$(UV) venv --quiet --clear --python "$(PYTHON)" .venv
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: run
run: .venv/.ready ## Run the whole pipeline (RECIPE=sample, ARGS="key=value ...")
	@$(BIN)/python -m pipeline run --recipe $(RECIPE) $(ARGS)

.PHONY: test
test: .venv/.ready ## Lint, types, conventions and all tests
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: test-browser
test-browser: .venv/.ready ## Test the pages in this machine's Chromium
	@$(UV) pip install --quiet --python $(BIN)/python --group browser
	$(BIN)/python -m pytest -m browser

.PHONY: check
check: .venv/.ready ## Lint, types and convention tests, in seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/conventions

.PHONY: test-fuzz
test-fuzz: .venv/.ready ## Ten thousand damaged images, in minutes
	$(BIN)/python -m pytest -m fuzz tests/fuzz

.PHONY: test-benchmarks
test-benchmarks: .venv/.ready ## Each benchmark on a handful of drawings, in minutes
	$(BIN)/python -m pytest -m benchmark tests/benchmarks

.PHONY: test-load
test-load: .venv/.ready ## The gateway under load and abuse, in minutes (PAWFLOW_LOAD_SECONDS=120)
	$(BIN)/python -m pytest -s -m load tests/load

.PHONY: test-reliability
test-reliability: .venv/.ready ## Kill runs, fill disks, stop servers, in half an hour (PAWFLOW_RELIABILITY_SEED=1; after `make stack` with its parts too)
	$(BIN)/python -m pytest -s -m reliability tests/reliability

.PHONY: bench
bench: .venv/.ready ## All three below, in hours; each records its figures and the machine in benchmarks/results.json, and draws them (PAWFLOW_DATA=folder of real archives)
	@$(BIN)/python -m benchmarks

.PHONY: bench-data
bench-data: .venv/.ready ## Measure the data steps (half an hour; PAWFLOW_DATA=folder of real archives)
	@$(BIN)/python -m benchmarks data

.PHONY: bench-training
bench-training: .venv/.ready ## Measure training against guides of TensorFlow and Keras (45 minutes; PAWFLOW_DATA=folder of real archives)
	@$(BIN)/python -m benchmarks training

.PHONY: bench-serving
bench-serving: .venv/.ready ## Measure the servers against others and the ceiling (PAWFLOW_DATA=folder of real archives)
	@$(BIN)/python -m benchmarks serving

.PHONY: pictures
pictures: .venv/.ready ## Take the README's pictures in this machine's Chromium, after `make run`
	@$(UV) pip install --quiet --python $(BIN)/python --group browser
	@$(BIN)/python docs/pictures/take.py

.docs/.ready: requirements-docs.lock | $(UV)
	@$(UV) venv --quiet --clear --python "$(PYTHON)" .docs
	@$(UV) pip install --quiet --python .docs/bin/python --require-hashes -r requirements-docs.lock
	@touch $@

SPHINX := .docs/bin/sphinx-build --conf-dir docs/site --doctree-dir .docs/doctrees --fail-on-warning --keep-going --quiet
.PHONY: docs
docs: .docs/.ready ## Build the site of the documentation in .docs/site; a broken link inside it is an error
	@$(SPHINX) . .docs/site
	@echo "wrote .docs/site/index.html"

.PHONY: docs-links
docs-links: .docs/.ready ## Ask every address outside that the documentation names, in minutes
	@$(SPHINX) --builder linkcheck . .docs/links

.PHONY: reference
reference: .venv/.ready ## Write docs/recipes.md, docs/cli.md and docs/pictures/flow.svg anew from the code
	@for made in recipes.md cli.md pictures/flow.svg; do \
		name=$$(basename $${made%.*}); $(BIN)/python docs/site/$$name.py > docs/$$made.new && mv docs/$$made.new docs/$$made || exit 1; \
	done

.PHONY: format
format: .venv/.ready ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: ui
ui: .venv/.ready ## Open the MLflow UI on http://127.0.0.1:5000 (UI_PORT=5000)
	@$(BIN)/python -m pipeline ui --port $(UI_PORT)

.PHONY: serve
serve: .venv/.ready ## Serve a champion on port 5001 (MODEL=name, default the newest; SERVE_PORT=5001)
	@$(BIN)/python -m pipeline serve --port $(SERVE_PORT) $(if $(MODEL),--model $(MODEL))

.PHONY: web
web: .venv/.ready ## Open a web page for photos on http://127.0.0.1:5002 (MODEL=name, WEB_PORT=5002)
	@$(BIN)/python -m pipeline web --port $(WEB_PORT) $(if $(MODEL),--model $(MODEL))

.PHONY: tensorboard
tensorboard: .venv/.ready ## Show the training curves of a run on http://127.0.0.1:6006 (RUN=its id in MLflow, default the newest; TENSORBOARD_PORT=6006)
	@$(BIN)/python -m pipeline tensorboard --port $(TENSORBOARD_PORT) $(RUN)

.PHONY: torch
torch: .venv/.ready ## Add PyTorch, for candidates with `backend: torch` (README of components/train: the smaller CPU build)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-torch.lock

.PHONY: test-torch
test-torch: torch ## Train on PyTorch, kill it and continue, in minutes
	@$(BIN)/python -c "import torch"
	$(BIN)/python -m pytest tests/components/train/test_resume.py::test_pytorch_trains_and_continues_as_well

# Without the stamp, so that an environment that a killed call left without either TensorFlow is made again.
.PHONY: gpu
gpu: .venv/.ready ## Put TensorFlow with CUDA in place of the one for CPUs (Linux on x86-64, NVIDIA; 5 GB more)
	@rm .venv/.ready
	@$(UV) pip uninstall --quiet --python $(BIN)/python tensorflow-cpu
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --reinstall-package tensorflow -r $(LOCKS)/train-gpu.lock
	@touch .venv/.ready

.PHONY: images
images: ## Build the container images (IMAGES="data train", BASE=image, DOCKER=engine's client; README of infra)
	@for target in $(IMAGES); do \
		DOCKER_BUILDKIT=1 $(DOCKER) build --file infra/docker/Dockerfile --target $$target --tag $(PAWFLOW_IMAGES)$$target:$(VERSION) \
			--build-arg BASE=$(BASE) --build-arg VERSION=$(VERSION) --build-arg COMMIT=$$(git describe --always --abbrev=40 --dirty) \
			$(BUILD_ARGS) . || exit 1; \
	done

.PHONY: test-containers
test-containers: .venv/.ready ## The pipeline and single steps in the images that `make images` built, in minutes
	$(BIN)/python -m pytest -m containers tests/infra

.PHONY: stand-ins
stand-ins: ## Postgres, S3 store and Caddy for infra/compose, of Debian's and PyPI's packages, where no registry can be reached (BASE, BUILD_ARGS)
	@for part in postgres s3 caddy; do \
		DOCKER_BUILDKIT=1 $(DOCKER) build --file infra/compose/local/Dockerfile --target $$part --tag pawflow/$$part:local \
			--build-arg BASE=$(BASE) $(BUILD_ARGS) . || exit 1; \
	done

.PHONY: test-compose
test-compose: .venv/.ready ## The team server and the small machine in containers, and a cluster's pods beside them, after `make images`, in minutes
	UV=$(CURDIR)/$(UV) $(BIN)/python -m pytest -m compose tests/infra

.PHONY: check-infra
check-infra: | $(UV) ## Dockerfiles, Compose, manifests and workflow by hadolint, yamllint, kubernetes-validate, checkov and zizmor, from PyPI
	@UV=$(CURDIR)/$(UV) infra/check

.security/.ready: requirements-security.lock | $(UV)
	@$(UV) venv --quiet --clear --python "$(PYTHON)" .security
	@$(UV) pip install --quiet --python .security/bin/python --require-hashes -r requirements-security.lock
	@touch $@

.PHONY: audit
audit: .security/.ready ## Known vulnerabilities of every locked package, asked of osv.dev
	@PATH="$(CURDIR)/.security/bin:$$PATH" infra/audit

.PHONY: sbom
sbom: .security/.ready ## What every lock installs, as CycloneDX in the folder sbom
	@mkdir -p sbom
	@for lock in requirements*.lock $(LOCKS)/*.lock; do \
		name=$${lock#infra/docker/locks/}; [ $$name = $$lock ] || name=image-$$name; \
		.security/bin/cyclonedx-py requirements --output-reproducible --no-validate --output-file sbom/$${name%.lock}.cdx.json $$lock || exit 1; \
	done; ls sbom

.PHONY: secrets
secrets: .security/.ready ## Passwords and keys in what git tracks
	@git ls-files -z | xargs -0 .security/bin/detect-secrets-hook --no-verify --exclude-files '$(NO_SECRETS)' --exclude-lines '$(NAMES_OF_SECRETS)' && echo "none found"

.PHONY: compose-secrets
compose-secrets: ## Passwords for infra/compose, in a file that git ignores; those that are there stay
	@$(PYTHON) -m infra.stack.credentials infra/compose/.env

.venv/.stack: requirements-stack.lock .venv/.ready
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-stack.lock
	@touch $@

.PHONY: stack
stack: .venv/.stack ## A team server as processes: Postgres, S3, MLflow with passwords, endpoint, web page (MODEL=name; README of infra)
	@$(BIN)/python -m infra.stack up $(if $(MODEL),--model $(MODEL))

.PHONY: test-stack
test-stack: .venv/.stack ## A whole run into the team server, killed, started again, backed up and restored, in minutes
	$(BIN)/python -m pytest -m stack tests/infra

COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11
.PHONY: lock
lock: | $(UV) ## Resolve all locks anew from pyproject.toml
	@$(COMPILE) --all-extras --group serve pyproject.toml -o requirements.lock
	@$(COMPILE) --group serve -c requirements.lock -o requirements-serve.lock
	@$(COMPILE) --group torch -c requirements.lock -o requirements-torch.lock
	@$(COMPILE) --group stack -c requirements.lock -o requirements-stack.lock
	@$(COMPILE) --group docs -c requirements.lock -o requirements-docs.lock
	@$(COMPILE) --group security -c requirements.lock -o requirements-security.lock
	@for group in builder data serve tracking; do $(COMPILE) --group image-$$group -c requirements.lock -o $(LOCKS)/$$group.lock || exit 1; done
	@$(COMPILE) -c requirements.lock pyproject.toml -o $(LOCKS)/train.lock
	@$(COMPILE) --group image-train-gpu -c requirements.lock --override $(LOCKS)/without-tensorflow-cpu.txt pyproject.toml -o $(LOCKS)/train-gpu.lock

.PHONY: clean
clean: ## Remove runs and the cache; keeps the environment, MLflow's data and the photos that people flagged
	@[ ! -d .pawflow ] || find .pawflow -mindepth 1 -maxdepth 1 ! -name flagged -exec rm -rf {} +

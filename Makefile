# Short names for what run.sh does, and for the container (docker/Dockerfile, compose.yaml).
.PHONY: install tools test lint types ui clean build up down generate reconstruct pipeline logs windows

install:
	./run.sh setup

tools:
	@./run.sh setup --group dev

test:
	./run.sh test

lint: tools
	./run.sh exec ruff check .
	./run.sh exec ruff format --check .

types: tools
	./run.sh exec mypy

ui:
	./run.sh ui

# --- the container ---------------------------------------------------------------------------------------------------
# TARGET=cpu or cuda; by itself cuda where the driver's tool is. Other settings: compose.yaml.
TARGET ?= $(if $(shell command -v nvidia-smi 2>/dev/null),cuda,cpu)
COMPOSE ?= docker compose
export TRELLIS_UID ?= $(shell sh docker/setting.sh TRELLIS_UID "$$(id -u)")
export TRELLIS_GID ?= $(shell sh docker/setting.sh TRELLIS_GID "$$(id -g)")
# Compose reads .env by itself and hands model and preset on; the folder and the port are needed here too.
RESULTS_FOLDER = $$(sh docker/setting.sh TRELLIS_OUTPUT ./outputs)
PAGE_PORT = $$(sh docker/setting.sh TRELLIS_PORT 7960)
# Of generate, reconstruct (the same) and pipeline: a picture or folder below TRELLIS_INPUT, and how it is made.
INPUT ?= mug.png
QUALITY ?= balanced
SEED ?= 42
RESULT = $(basename $(notdir $(INPUT)))
DECIMATION ?=
TEXTURE_SIZE ?=
CHOICES = --quality $(QUALITY) --seed $(SEED) $(if $(DECIMATION),--decimation $(DECIMATION)) \
	$(if $(TEXTURE_SIZE),--texture-size $(TEXTURE_SIZE))

build:
	$(COMPOSE) --profile $(TARGET) --profile blender build

up:
	mkdir -p "$(RESULTS_FOLDER)"
	$(COMPOSE) --profile $(TARGET) up --detach --wait
	@echo "The page is at http://127.0.0.1:$(PAGE_PORT)/"

down:
	$(COMPOSE) --profile cpu --profile cuda --profile blender down

logs:
	$(COMPOSE) --profile $(TARGET) logs --follow

generate reconstruct:
	mkdir -p "$(RESULTS_FOLDER)"
	$(COMPOSE) --profile $(TARGET) run --rm --no-deps $(TARGET) reconstruct "/input/$(INPUT)" --output "/data/$(RESULT)" $(CHOICES)

# Generate, then import the result into Blender, set its shading and render a turntable.
pipeline: generate
	$(COMPOSE) --profile blender run --rm blender "/data/$(RESULT)" --output "/data/$(RESULT)/blender"

# --- Windows: launcher and setup, made on Linux (installer/windows/README.md) ------------------------------------------
windows:
	bash installer/windows/build.sh

# What can be made again; the environment (.venv) is left alone.
clean:
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
	rm -rf .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info

# Short names for what run.sh does.
.PHONY: install tools test lint types ui clean

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

# What can be made again; the environment (.venv) is left alone.
clean:
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
	rm -rf .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info

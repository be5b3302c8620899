# Everything a newcomer needs: `make demo` and `make test` work on a bare machine with Python and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3)
TRAINER = .venv/bin/trainer

.PHONY: demo test test-slow check format benchmark clean

# Draws hands, trains (4 to 6 minutes on 2 CPU cores), evaluates, exports, labels one picture.
demo: .venv/installed
	$(TRAINER) fit configs/rps.yaml
	$(TRAINER) evaluate configs/rps.yaml
	$(TRAINER) export configs/rps.yaml
	$(TRAINER) predict configs/rps.yaml $$(ls datasets/rendered_hands/*/scissors/*.jpg | head -n 1)

test: .venv/installed
	.venv/bin/python -m pytest -n 2

test-slow: .venv/installed
	.venv/bin/python -m pytest -m slow

check: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/installed
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

benchmark: .venv/installed
	.venv/bin/python benchmarks/loop.py
	.venv/bin/python benchmarks/inspection.py
	.venv/bin/python benchmarks/drawing.py
	.venv/bin/python benchmarks/listing.py
	.venv/bin/python benchmarks/first_batch.py
	.venv/bin/python benchmarks/packed.py
	.venv/bin/python benchmarks/input.py
	.venv/bin/python benchmarks/workers.py
	.venv/bin/python benchmarks/memory.py
	.venv/bin/python benchmarks/fit.py
	.venv/bin/python benchmarks/kills.py

clean:
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

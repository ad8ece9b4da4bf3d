# Two commands matter: `make demo` shows the whole job on a real fault, `make test` proves it.
.PHONY: demo test bench lint lock docs help

help:
	@echo "make demo          a full disk, noticed, approved, cleaned, verified   (YES=1 approves by itself, KEEP=1 leaves it up)"
	@echo "make test          all tests, with every real part they need"
	@echo "make bench         how fast it is and what it costs, beside Prefect's own worker   (QUICK=1 the latency alone, FLAME=1 flame graphs)"
	@echo "make lint          ruff, mypy, import contracts"
	@echo "make docs          docs/command-line.md from what --help says, docs/runbooks/ from catalogue and code"
	@echo "make lock          resolve the dependencies anew"

demo:
	@scripts/prepare demo
	@.venv/bin/python -m lab.demo $(if $(KEEP),--keep) $(if $(YES),--yes)

# Four processes for two cores: half of the time a test waits. The long files (end_to_end) come first, so that no core
# is left alone at the end: tests/conftest.py.
test: lint
	@.venv/bin/pytest -n 4 --dist loadfile --no-loadscope-reorder --durations=25

bench:
	@scripts/prepare demo
	@.venv/bin/python -m bench $(if $(QUICK),--quick) $(if $(FLAME),--flame)

lint:
	@scripts/prepare test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

docs:
	@.venv/bin/typer nightshift.gateway.cli utils docs --name nightshift --title "The command line" --output docs/command-line.md
	@.venv/bin/nightshift runbooks pages

lock:
	@scripts/prepare test
	@.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-strip-extras --no-emit-index-url pyproject.toml -o requirements/runtime.txt
	@.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-strip-extras --no-emit-index-url pyproject.toml --group dev -o requirements/dev.txt

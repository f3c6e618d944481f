PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# $(call install,EXTRAS): make the environment where there is none, and install agentgauge with these extras.
COMMA := ,
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "agentgauge needs Python 3.11 or later, $(PYTHON) is older: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
	    $(BIN)/python -m ensurepip >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	    { echo "$(PYTHON) cannot make environments: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@echo "installing agentgauge[$(1)] into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(1)]"
endef

.PHONY: demo test lint-mixin test-grafana bench bench-peers bench-check bench-whole bench-history soak load test-freethreaded test-frameworks lint dashboards cases server-pages clean

# Agents at work, and what their /metrics show: make demo ARGS="--seconds 20 --seed 1"
demo: $(VENV)/.demo
	@$(BIN)/python examples/research_swarm.py $(ARGS)

# Everything that must hold: lint, types, import contract, tests, promtool, dashboards, docs. Some tests, whatever they cover: make test ARGS="tests/health -k disk"
test: $(VENV)/.dev
	@sh tests/install_servers.sh
	$(MAKE) --no-print-directory lint
	$(BIN)/python tests/halves.py $(ARGS)
	$(if $(ARGS),,$(BIN)/coverage report)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# pint, promtool of Prometheus 3 and Grafana's dashboard-linter on alerts/ and dashboards/, where Go is found: make lint-mixin ARGS=pint
lint-mixin:
	@sh tests/lint_mixin.sh $(ARGS)

# The dashboards in Grafana's own libraries before a real Prometheus, where Node.js is found: make test-grafana ARGS="-k one"
test-grafana: $(VENV)/.dev
	@sh tests/install_servers.sh
	@sh tests/grafana/run.sh $(ARGS)

# What agentgauge costs, each row against its bar: make bench ARGS="--only scrape --json figures.json"; --readme README.md writes it there
bench: $(VENV)/.dev $(VENV)/autometrics/.done
	@$(BIN)/python benchmarks/bench.py $(ARGS)

# The same, but what misses its bar is measured again, and fails if it still does: make bench-check ARGS=--short
bench-check: $(VENV)/.dev $(VENV)/autometrics/.done
	@$(BIN)/python benchmarks/bench.py --check $(ARGS)

# The demo with everything on against the demo without agentgauge, in all and by part; takes some minutes.
bench-whole: $(VENV)/.dev
	@$(BIN)/python benchmarks/bench.py --check --whole $(ARGS)

# A day of 10,000 series in the local history and in a Prometheus beside it, a quarter of an hour: make bench-history ARGS=--short
bench-history: $(VENV)/.dev
	@sh tests/install_servers.sh
	@$(BIN)/python benchmarks/history.py $(ARGS)

# What other libraries' decorators cost, for the README: make bench-peers ARGS="--only logfire"
bench-peers: $(VENV)/.dev
	@$(BIN)/python benchmarks/peers.py --readme README.md $(ARGS)

# Ten minutes of mixed load (less is too short for memory to settle), after which memory, threads and descriptors must be where
# they were: make soak ARGS="--seconds 1800"
# Then an hour of agents that do well, in which no alert may fire: HEALTHY_SECONDS=600 makes that ten minutes
HEALTHY_SECONDS ?= 3600
soak: $(VENV)/.dev
	@sh tests/install_servers.sh
	@$(BIN)/python benchmarks/soak.py $(ARGS)
	@CI=true HEALTHY_SECONDS=$(HEALTHY_SECONDS) $(BIN)/python -m pytest -q tests/mixin/test_mixin_healthy.py

# A ramp to 1,000 agents and beyond under scraping: where is the knee, is each event counted? make load ARGS="--agents 100 1000"
load: $(VENV)/.dev
	@$(BIN)/python benchmarks/load.py $(ARGS)

# What threads share, where there is no GIL; builds a CPython where it finds none: make test-freethreaded PYTHON_FREETHREADED=python3.14t
test-freethreaded:
	@PYTHON_FREETHREADED="$(PYTHON_FREETHREADED)" sh tests/freethreaded/build.sh
	@PYTHON_GIL=0 .freethreaded/venv/bin/python tests/freethreaded/run.py $(ARGS)

# Each framework's tests with its minimum and with its latest version, in environments of their own: make test-frameworks ARGS="--only dspy"
test-frameworks: $(VENV)/.dev
	@$(BIN)/python tests/frameworks/run.py $(ARGS)

# Rebuild what is committed but generated: dashboards/*.json and docs/metrics.md.
dashboards: $(VENV)/.dev
	$(BIN)/python -m dashboards.build

# Capture the input series of the alert rules' cases anew from the programs of tests/mixin/scenarios: make cases ARGS="models tools"
cases: $(VENV)/.dev
	PYTHONPATH=tests/analytics $(BIN)/python tests/mixin/capture.py $(ARGS)

# Record the pages of a Prometheus and an Alertmanager in trouble anew, for such cases; takes minutes: make server-pages ARGS=failing_rules
server-pages: $(VENV)/.dev
	@sh tests/install_servers.sh
	$(BIN)/python tests/mixin/record_servers.py $(ARGS)

$(VENV)/.demo: pyproject.toml
	$(call install,dspy$(COMMA)cli$(COMMA)analysis$(COMMA)charts)
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(call install,dev)
	@touch $@ $(VENV)/.demo

# autometrics pins a prometheus_client older than ours: it is measured in an environment of its own.
$(VENV)/autometrics/.done: | $(VENV)/.dev
	@$(BIN)/python -m venv --clear --without-pip $(@D)
	@$(BIN)/python -m pip --python $(@D)/bin/python install --quiet --disable-pip-version-check autometrics==1.0.0 psutil wrapt
	@touch $@

clean:
	rm -rf $(VENV) .bench-venvs .framework-venvs .freethreaded .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

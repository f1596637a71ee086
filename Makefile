# The two commands of the README are `make demo` and `make test`; both work on a bare machine with
# python3, pip and make. Everything they install goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CASES := ../shared/data/fit_cases.csv
H100 := ../shared/data/h100_measurements_calibration.csv
OWN := $(wildcard bench/gpu/results/*.csv)
LOGS := bench/cases/engine_logs.csv
REPORTED := bench/cases/reported_verdicts.csv
SPEEDS := ../shared/data/perf_cases.csv
SCORE := --worst 0

DOCUMENTS := ../shared/data/openapi
RAY ?=

.PHONY: demo test lint bench bench-fleet clean

demo: $(READY)
	$(BIN)/rackrate gpu l40s
	$(BIN)/rackrate fit llama-3.1-70b --gpu l40s --precision int4

test: $(READY)
	$(BIN)/pytest -n 2 -m "not alone"
	$(BIN)/pytest -m alone

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python bench/market.py
	$(BIN)/python bench/collect.py --docs
	$(BIN)/python bench/fit_speed.py --docs
	$(BIN)/python bench/perf_speed.py --docs
	$(if $(wildcard $(SPEEDS)),$(BIN)/python bench/score_perf.py $(SPEEDS) --docs "How fast is it")
	$(if $(wildcard $(SPEEDS) $(H100)),$(BIN)/python bench/cross_perf.py $(SPEEDS) $(H100) --docs)
	$(BIN)/python bench/plan.py --docs
	$(if $(shell command -v wrk),$(BIN)/python bench/web.py --docs)
	$(if $(wildcard $(CASES)),$(BIN)/python bench/score_fit.py $(CASES) --docs "Does it fit" $(SCORE))
	$(if $(wildcard $(H100)),$(BIN)/python bench/score_fit.py $(H100) --docs "Does it fit: H100 and H200" $(SCORE))
	$(BIN)/python bench/score_fit.py $(OWN) --docs "Does it fit: our own runs" $(SCORE)
	$(BIN)/python bench/score_fit.py $(LOGS) --docs "Does it fit: engine logs" $(SCORE)
	$(BIN)/python bench/score_fit.py $(LOGS) --docs "Does it fit: engine logs, held out" \
		--cross-validate --no-peers $(SCORE)
	$(BIN)/python bench/score_fit.py $(REPORTED) --docs "Does it fit: verdicts as reported" $(SCORE)
	$(if $(wildcard $(CASES) $(H100)),$(BIN)/python bench/score_fit.py $(wildcard $(CASES) $(H100)) \
		--docs "Does it fit: held out" --cross-validate --no-peers $(SCORE))

# Each is one section of docs/benchmarks.md, in three minutes or less on two quiet cores; emulated clouds, no
# money. RAY=/opt/ray/bin/python has Ray take part: a Python that has ray and psutil. Not among them are series
# that say something only after hours: bench/fleet_deaths.py and bench/fleet_money.py.
bench-fleet: $(READY)
	$(BIN)/python bench/fleet.py --docs $(if $(RAY),--ray $(RAY))
	$(BIN)/python bench/fleet_events.py --docs
	$(BIN)/python bench/fleet_latency.py --docs
	$(BIN)/python bench/sweep.py --docs
	$(BIN)/python bench/fleet_bills.py --docs
	$(if $(wildcard $(DOCUMENTS)),$(BIN)/python bench/fleet_spec.py $(DOCUMENTS) --docs)

$(READY): pyproject.toml constraints.txt tools/make_venv.sh
	sh tools/make_venv.sh $(PYTHON)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

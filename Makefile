# Two commands do all set-up: `make demo` and `make test`. SHORT=1 gives each test-* target's short form.
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
RUNTIME := $(VENV)/.runtime
TESTING := $(VENV)/.testing
EXPORTING := $(VENV)/.exporting
RIGGING := $(VENV)/.rigging
SHORT ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-gateway check-deb-emulated test results-fault results-student results-state models-left-out models models-reasoner bench lint check size cards tune codes golden clean deb lock $(filter test-%,$(MAKECMDGOALS))

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/  make \1\t/' | expand -t 24

$(BIN)/python: packaging/venv.sh
	packaging/venv.sh $(VENV)

$(RUNTIME): pyproject.toml $(BIN)/python
	$(PIP) -e .
	@touch $@

$(TESTING): pyproject.toml $(RUNTIME)
	$(PIP) -e '.[test]'
	@touch $@

$(EXPORTING): pyproject.toml $(TESTING)
	$(PIP) -e '.[export]'
	@touch $@

$(RIGGING): pyproject.toml $(TESTING)
	$(PIP) -e '.[rig]'
	@touch $@

demo: $(RUNTIME) ## a 16-cell pack with a developing internal short, from frames to the alert and its reasons
	@$(BIN)/edgebms demo

demo-gateway: $(TESTING) ## the demo's log, as recorded, into a whole gateway over SLCAN and UDP, seen at every outlet (7 minutes)
	$(BIN)/python -m pytest -q -m slow tests/journey/test_3_gateway.py

# an environment that forbids bytecode would have each process that a test starts compile the runtime anew
test: export PYTHONDONTWRITEBYTECODE :=
test: $(TESTING) lint ## lint, types, import rules and the test suite (under 5 minutes)
	$(BIN)/python -m pytest -n 3 --dist loadfile -m 'not slow' -q

lint: $(TESTING) ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-wheel: $(TESTING) ## the wheel alone in a fresh environment: command, demo, models, catalogue
	$(BIN)/python -m pytest -q -m slow tests/journey/test_1_install.py

test-replay: $(TESTING) ## BatICM days as CAN frames and from parquet: same values, alerts, commands (SHORT=1: five short days)
	$(BIN)/python -m pytest tests/hil/test_baticm_replay.py -n 2 -m slow -q $(if $(SHORT),-k '04-15 or 05-05 or 04-19 or 04-20 or 05-11')

test-fuzz: $(TESTING) ## random frames, mutated profiles and DBC files, at length (SHORT=1: fewer)
	$(BIN)/python -m pytest -q -m slow tests/telemetry

test-speed: $(TESTING) ## instructions a snapshot costs, counted by callgrind, gated both ways (WRITE=1 writes the figures)
	@if packaging/need.sh valgrind valgrind; then $(BIN)/python tests/speed/count.py $(if $(WRITE),--write); \
	elif [ "$$CI" = true ]; then echo "valgrind is missing"; exit 1; else echo "skipped: valgrind is missing (apt install valgrind)"; fi

test-coverage: $(TESTING) ## guard/ and decision/: every branch is taken by a test
	$(BIN)/python -m pytest -n 2 -q -m 'not slow' tests/guard tests/decision --cov=edgebms.guard --cov=edgebms.decision --cov-branch \
	  --cov-fail-under=100 --cov-report=term-missing:skip-covered

test-faults: $(TESTING) ## faults of links and outlets, injected into a running daemon: docs/results-faults.md (SHORT=1: a third of them)
	$(BIN)/python tests/faults/run.py $(if $(SHORT),--short,--write docs/results-faults.md)

test-rig: $(RIGGING) ## the scenarios of the rig against the real daemon: docs/results-rig.md (SHORT=1: a third of them, HTML=FILE: the report)
	@packaging/need.sh mosquitto mosquitto || true; packaging/need.sh faketime faketime || true
	$(BIN)/python -m hil run $(if $(SHORT),--short,--write docs/results-rig.md) $(if $(HTML),--html $(HTML)) $(if $(JUNIT),--junit-xml $(JUNIT))
	$(BIN)/python -m pytest -q -m slow tests/hil/test_rig_run.py

test-mutants: $(TESTING) ## defects put into a copy of the runtime: the scenarios named for each turn red (SHORT=1: the quick ones)
	$(BIN)/python -m pytest -q -s -rA -m slow tests/hil/test_mutants.py -k $(if $(SHORT),short,every)

test-load: $(TESTING) ## the daemon at 1,600 frames/s and 96 cells a pack on one core: nothing lost, latency to each outlet, memory (SHORT=1: 18 s)
	$(BIN)/python tests/load/run.py $(if $(SHORT),--seconds 18,--write docs/results-load.md)

test-mcu-load: $(TESTING) ## a microcontroller's line of 11,520 and 92,160 bytes/s: throughput, latency, the daemon's share of a core (SHORT=1: 5 s a row)
	$(BIN)/python tests/firmware_bridge/load.py $(if $(SHORT),--short,--write docs/results-firmware.md)

test-mutation: $(TESTING) ## guard/: each change to its source is noticed by a test or explained (SHORT=1: a sample)
	$(BIN)/python tests/mutation/run.py $(if $(SHORT),--short)

test-firmware: $(TESTING) ## the microcontroller's C library (coverage, sanitizers, mutants, fuzzing, sizes, MISRA findings) and its image under QEMU (SHORT=1)
	$(BIN)/python tests/firmware/run.py $(if $(SHORT),--short,--write docs/results-firmware.md)

test-deb: $(TESTING) ## the Debian package in a Debian of its own: install, run, upgrade, rollback, purge, with systemd and without (root; RELEASE=deb13)
	RELEASE=$(RELEASE) $(BIN)/python -m pytest -q -m slow tests/packaging/test_debian_package.py $(if $(SHORT),-k 'not cut_off')

test-vm: $(TESTING) ## a Debian machine under qemu with SocketCAN: the package under systemd, scenarios over vcan0: docs/results-vm.md (root; SHORT=1)
	$(BIN)/python tests/vm/run.py $(if $(SHORT),--short,--write docs/results-vm.md)

check-deb-emulated: $(TESTING) ## the arm64 package: the same bytes when built again, lintian, the same decisions under an emulated ARM64
	$(BIN)/python -m pytest -q -m slow tests/packaging/test_arm64_package.py

test-kill: $(TESTING) ## a gateway killed at 200 random moments and started again (SHORT=1: 60)
	$(BIN)/python tests/record/killed.py $(if $(SHORT),60,200)

$(VENV)-runtime/.installed: pyproject.toml packaging/venv.sh
	packaging/venv.sh $(VENV)-runtime
	$(VENV)-runtime/bin/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

test-export: $(EXPORTING) ## training, ONNX and int8 from end to end (SHORT=1: two logs, one epoch)
	$(BIN)/python -m pytest -q -m slow tests/export $(if $(SHORT),-k 'not long')

test-pybamm: $(RIGGING) ## PyBaMM's cells and packs, and our circuit beside them on one drive cycle a parameter set
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/hil/test_pybamm_packs.py tests/hil/test_pybamm_live.py $(if $(SHORT),-k 'not library_resumes')

results-fault: $(EXPORTING) ## alarms on every measured fault log, train and public (SHORT=1: the abuse tests in train, as a test)
	$(if $(SHORT),$(BIN)/python -m pytest -q -m slow tests/export/test_evaluate_fault.py,\
	  $(BIN)/python -m export evaluate fault ../shared/data/fault/train --jobs 2 && $(BIN)/python -m export evaluate fault ../shared/data/fault/public --jobs 2)

results-state: $(TESTING) ## every requirement on SOC, pass or fail, on the shared data: minutes; writes docs/estimation.md
	$(BIN)/python -m export evaluate state-table --write docs/estimation.md --plots docs/plots
	$(BIN)/python -m export evaluate state-students --write docs/estimation.md
	$(BIN)/python -m export evaluate state-kinds --write docs/estimation.md
	$(BIN)/python -m export evaluate soh --write docs/estimation.md

models-left-out: $(EXPORTING) ## students that never saw one cell model each, for the never-seen rows of docs/estimation.md
	for s in lg_hg2 panasonic_18650pf dmegc_randomwalk; do $(BIN)/python -m export train state --leave-out $$s --no-teacher --variants 45 --epochs 8 --seeds 1 --models export/left_out || exit 1; done

DAYS := --hours 24 --period 10 --cells 16 96 --kinds ordinary --packs 500
results-guard: $(EXPORTING) $(RIGGING) ## the guard alone on 1,000 simulated days of ordinary use and 640 packs with faults: docs/results-guard.md (hours; resumes)
	test -f build/circuit-days/tests.csv || $(BIN)/python -m hil corpus --seed 780 $(DAYS) --out build/circuit-days
	test -f build/circuit-faults/tests.csv || $(BIN)/python -m hil corpus --seed 781 --packs 520 --cells 16 96 --out build/circuit-faults
	$(BIN)/python -m hil pybamm-library
	test -f build/pybamm-days/tests.csv || $(BIN)/python -m hil corpus --plant pybamm --seed 1 --packs 500 --kinds ordinary --out build/pybamm-days
	test -f build/pybamm-faults/tests.csv || $(BIN)/python -m hil corpus --plant pybamm --seed 602 --packs 120 --hours 24 --out build/pybamm-faults
	for plant in circuit pybamm; do \
	  $(BIN)/python -m export evaluate fault build/$$plant-days --methods guard --resume build/$$plant-days.ndjson | sed -n '/^Faults/,$$p'; \
	  $(BIN)/python -m export evaluate fault build/$$plant-faults --methods limits,guard --resume build/$$plant-faults.ndjson | sed -n '/^Faults/,$$p'; \
	done

models: $(EXPORTING) ## train what ships again from its seeds: ten minutes on one core; then look at the evaluation
	$(BIN)/python -m export train gru
	$(BIN)/python -m export train state

HOURS_16_48 := --cells 16 48 --batch 5 --jobs $$(nproc)
DAYS_16_48 := --hours 24 --period 10 $(HOURS_16_48)
CALM_KINDS := weak_cell sun_on_one_side hot_day_heavy_use connector_warm hard_pull damp_day cell_reconnected probe_reconnected
RAN_AWAY = $$(awk -F, 'NR > 1 && $$10 {print "build/shorts-report/" $$2 ".parquet"}' build/shorts-report/tests.csv)
results-student: $(EXPORTING) $(RIGGING) ## guard and student together on simulated days, faults and shorts that none was set on: docs/results-student.md (hours; resumes)
	test -f build/days-report/tests.csv || $(BIN)/python -m hil corpus --seed 802 $(DAYS_16_48) --packs 500 --kinds ordinary --out build/days-report
	test -f build/faults-report/tests.csv || $(BIN)/python -m hil corpus --seed 803 $(HOURS_16_48) --packs 260 --out build/faults-report
	test -f build/shorts-report/tests.csv || $(BIN)/python -m hil corpus --seed 805 $(HOURS_16_48) --hours 2 --packs 2000 --kinds short_constant short_decaying short_probe_lost --out build/shorts-report
	$(BIN)/python -m hil pybamm-library
	test -f build/pybamm-days/tests.csv || $(BIN)/python -m hil corpus --plant pybamm --seed 1 --packs 500 --kinds ordinary --out build/pybamm-days
	$(BIN)/python -m export evaluate fault build/faults-report --methods limits,guard,student_int8 --jobs $$(nproc) --resume build/faults-report.ndjson
	$(BIN)/python -m export evaluate fault $(RAN_AWAY) --period 5 --methods limits,guard,student_int8 --jobs $$(nproc) --resume build/shorts-report.ndjson
	for set in days-report pybamm-days; do $(BIN)/python -m export evaluate fault build/$$set --methods student_int8 --jobs $$(nproc) --resume build/$$set.ndjson || exit 1; done

LISTENED := build/days-validation build/calm-validation build/faults-validation
PACKS ?= 9578
models-reasoner: $(EXPORTING) $(RIGGING) ## train the reasoner again from its seeds (PACKS=9578: hours on one core; goes on where it was broken off)
	$(BIN)/python -m export reason corpus --split train --packs $(PACKS)
	$(BIN)/python -m export reason corpus --split slow --packs $$(( $(PACKS) * 22 / 100 ))
	$(BIN)/python -m export reason corpus --split validation --packs $$(( $(PACKS) / 8 ))
	$(BIN)/python -m export reason corpus --split held_out --packs $$(( $(PACKS) / 5 ))
	$(BIN)/python -m export reason corpus --split many --packs 10000
	$(BIN)/python -m export reason corpus --split long --packs $$(( $(PACKS) / 20 ))
	$(BIN)/python -m export reason corpus --split days --packs $$(( $(PACKS) / 20 ))
	$(BIN)/python -m hil pybamm-library
	$(BIN)/python -m export reason corpus --split pybamm --packs 200
	$(BIN)/python -m export reason beliefs
	$(BIN)/python -m export reason oracle
	$(BIN)/python -m export reason fixed
	$(BIN)/python -m export reason trees
	$(BIN)/python -m export reason transformer
	$(BIN)/python -m export reason student --fixed
	$(BIN)/python -m export reason student
	for seed in 1 2; do $(BIN)/python -m export reason student --seed $$seed || exit 1; done
	test -f build/days-validation/tests.csv || $(BIN)/python -m hil corpus --seed 800 $(DAYS_16_48) --packs 250 --kinds ordinary $(CALM_KINDS) --out build/days-validation
	test -f build/calm-validation/tests.csv || $(BIN)/python -m hil corpus --seed 796 $(HOURS_16_48) --packs 160 --kinds ordinary $(CALM_KINDS) --out build/calm-validation
	test -f build/faults-validation/tests.csv || $(BIN)/python -m hil corpus --seed 801 $(HOURS_16_48) --packs 500 --out build/faults-validation
	$(BIN)/python -m export reason listen $(LISTENED) --jobs $$(nproc)
	$(BIN)/python -m export reason alarms $(LISTENED)
	$(BIN)/python -m export reason teacher
	$(BIN)/python -m export reason student --of-teacher
	$(BIN)/python -m export evaluate reason --write

bench: $(VENV)-runtime/.installed ## the whole line timed at 16, 96, 192 and 400 cells, in an environment with the runtime alone
	@$(VENV)-runtime/bin/edgebms bench --cells 16 96 192 400 $(if $(JSON),--json)

size: ## lines a folder; files over 300 lines
	@find edgebms export hil firmware_bridge -name '*.py' | xargs wc -l | awk '$$2!="total"{n=split($$2,p,"/"); d=(n>2)?p[1]"/"p[2]:p[1]; s[d]+=$$1; if($$1>300) print "over 300:", $$1, $$2} END{for(k in s) print s[k], k}' | sort -k2

deb: $(BIN)/python ## the Debian package in dist/ (ARCH=arm64, RELEASE=deb13 for the others)
	@$(BIN)/python packaging/deb/build.py --arch $(or $(ARCH),amd64) --release $(or $(RELEASE),deb12)

lock: $(BIN)/python ## pin what the package carries, after a change of dependencies (UPGRADE=1 takes newer versions)
	@UPGRADE=$(UPGRADE) $(BIN)/python packaging/lock.py

cards: $(TESTING) ## make the catalogue's cards anew from the shared train data
	$(BIN)/python -m export.recipes.make_cards
	$(BIN)/python -m export.recipes.make_sheet_cards

tune: $(TESTING) ## search the filter's constants on the shared train data (prints them)
	$(BIN)/python -m export.recipes.tune_kalman

codes: $(TESTING) ## the protocol's codes for Python and C, from the vocabulary and firmware_bridge/protocol.toml
	$(BIN)/python packaging/codes.py

golden: $(TESTING) ## write the golden files again (look at the diff, explain it in the commit)
	$(BIN)/python tests/golden/make_frames.py
	$(BIN)/python tests/golden/make_decisions.py
	$(BIN)/python tests/golden/make_readme.py
	$(BIN)/python tests/firmware_bridge/make_vectors.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The two commands of a newcomer are `make demo` and `make test`; both make what they need in .venv.
# PIP_ARGS goes to pip, as in: make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
BENCH_ARGS ?=
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
# Packages by version and digest (requirements/lock writes the files). PyTorch is fetched first and checked then: pip
# would prefer a file whose digest an index states, and so the CUDA build. From another index that PIP_ARGS names it comes
# by version alone.
LOCKED = $(PIP) --no-deps --require-hashes --requirement
TORCH = $(if $(findstring index-url,$(PIP_ARGS)),torch==2.13.0,--requirement requirements/torch.txt)

.PHONY: demo test test-fast test-slow test-arm64 coverage docs screenshots fuzz sbom card wheel deb bench-accuracy bench-generality bench-alignment bench-resolution bench-light bench-augment \
  bench-contamination bench-few bench-few-prior bench-golden bench-choice bench-student bench-parts bench-known bench-search bench-losses bench-behaviour bench-quantise bench-review bench-build bench-compressors \
  bench-curves bench-learning bench-splits bench-peers bench-runtime bench-live bench-line bench-memory bench-page bench-scene bench-false-alarms bench-static-objects bench-fights bench-scene-figures bench-cars bench-traffic bench-own-classes bench-detector-sizes bench-faces bench-plates bench-masks bench-fleet count-arm64 count-looks count-line count-rules count-alignment fit-costs clean

demo:
	@test -e .venv/demo || echo "the first time: installing 1.7 GB of packages takes some minutes; the demonstration then says how long it takes"
	@$(MAKE) --no-print-directory .venv/demo
	.venv/bin/vedette demo --out build/demo

test: .venv/dev
	tests/check

# The inner loop: lint, types, and the tests that build no bundle and take few seconds; about a minute on an idle machine.
test-fast: .venv/dev
	tests/check --fast

# Lines of the product that the tests run.
coverage: .venv/dev
	tests/check --cov=devices --cov=runtime --cov=deploy --cov=compress --cov-report=term --cov-report=json:build/coverage.json

# The list of modules and public names in docs/architecture.md; the JSON Schemas and the AsyncAPI document of the messages; the
# site of all pages, build/docs/site. To read it: python3 -m http.server --directory build/docs/site
docs: .venv/dev
	.venv/bin/python docs/list_modules.py
	.venv/bin/python docs/write_schemas.py
	.venv/bin/python docs/make_site.py

# Pictures of the pages for the documents, in build/screenshots: the tests in Chromium; a quarter of an hour.
screenshots: .venv/dev
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m "slow or not slow" -k in_browser tests/runtime/page tests/compress/studio

# The proofs of docs/delivery.md, and what else takes minutes; their figures go to build/proofs.json.
test-slow: .venv/dev
	tests/servers
	.venv/bin/python -m pytest -m slow

# The arm64 package installed and run under emulation, on bookworm and trixie side by side; needs root, Linux 6.7 and:
# apt-get install mmdebstrap binutils iproute2 qemu-user-static mosquitto
test-arm64: .venv/dev
	.venv/bin/python -m pytest --numprocesses 2 --dist loadscope -m slow tests/deploy/test_arm64_package.py

# Inputs that nobody would send, to everything that reads what comes from outside (docs/security.md); about 20 minutes.
FUZZ_ARGS ?=
fuzz: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/fuzz/run.py $(FUZZ_ARGS)

# The bill of materials of the device package and all that it installs: CycloneDX 1.6 in build/vedette.cdx.json.
sbom: .venv/dev
	@mkdir -p build
	.venv/bin/cyclonedx-py requirements --spec-version 1.6 --output-format JSON --output-reproducible \
	  --pyproject pyproject.toml --mc-type application --output-file build/vedette.cdx.json requirements/device.txt

# A card with our package, for tests: build/card/vedette-ARCH.img. Needs root; deploy/image/card says what else.
ARCH ?= amd64
DEB ?= $(firstword $(wildcard build/deb/vedette_*_$(ARCH).deb) build/deb/vedette_$(ARCH).deb)
card:
	deploy/image/card $(ARCH) $(DEB) build/card/vedette-$(ARCH).img

wheel: .venv/dev
	.venv/bin/python -m build --wheel --no-isolation

# Debian packages for amd64 and arm64 in build/deb (docs/install.md); FLAVOUR=slim makes those with one back end. Needs
# dpkg-deb and readelf: apt-get install dpkg binutils
FLAVOUR ?= full
deb: .venv/dev
	.venv/bin/python -m vedette.deploy.debian.build_deb --flavor $(FLAVOUR)

# Ours against anomalib, side by side; BENCH_ARGS goes to tests/bench/accuracy.py, as in BENCH_ARGS="--sets cookies".
# It goes on where it stopped. Harder: BENCH_ARGS="--nuisances plain,turned,shifted,light".
bench-accuracy: .venv/dev build/bench/anomalib-venv/ready
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/accuracy.py $(BENCH_ARGS)

# Design choices made on all sets but one, reported on the one left out: docs/accuracy-experiments.md; 20 minutes.
bench-generality: .venv/dev
	nice -n 5 .venv/bin/python tests/bench/generality.py $(BENCH_ARGS)

# What alignment and the region of interest are worth on parts that move: the table of docs/accuracy.md; half an hour.
bench-alignment: .venv/dev
	nice -n 5 .venv/bin/python tests/bench/alignment.py $(BENCH_ARGS)

# Squares, rectangles, letterboxes and tiles at equal pixels: figures of docs/accuracy.md; an hour.
bench-resolution: .venv/dev
	nice -n 5 .venv/bin/python tests/bench/resolution.py $(BENCH_ARGS)

# Other light, blur and shift, before and after recalibration, and p-values: tables of docs/accuracy.md; half an hour.
bench-light: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/light.py $(BENCH_ARGS)

# Fitting to augmented images, under other light and without: tables of docs/accuracy.md; half an hour.
bench-augment: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/augment.py $(BENCH_ARGS)

# Defects among the good images: what they cost, and whether they are noticed (docs/accuracy.md); half an hour.
bench-contamination: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/contamination.py $(BENCH_ARGS)

# Models of 1 to 16 good images (docs/accuracy.md); half an hour. Beside anomalib: make build/bench/anomalib-venv/ready, then
# BENCH_ARGS="--peer build/bench/anomalib-venv/bin/python".
bench-few: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/few.py $(BENCH_ARGS)

# What is typical of other products, for the threshold of few images, from what bench-few has left in OUT/few.json.
bench-few-prior: .venv/dev
	.venv/bin/python tests/bench/few_prior.py $(BENCH_ARGS)

# The detector `golden` beside the others, on drawn boards and on the development sets (docs/accuracy.md); half an hour, and it goes on where it stopped.
bench-golden: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/golden.py $(BENCH_ARGS)

# What a build loses because it chooses a detector without a defective image; an hour and a half, and it goes on where it stopped.
bench-choice: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/choice.py $(BENCH_ARGS)

# The detector `student` beside PaDiM (docs/accuracy.md); half an hour, and it goes on where it stopped.
bench-student: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/student.py $(BENCH_ARGS)

# Which pictures the audit takes for pictures of one part, on every set; eight minutes.
bench-parts: .venv/dev
	nice -n 5 .venv/bin/python tests/bench/repeated_parts.py $(BENCH_ARGS)

# What known defects give, and whether unknown kinds of defects are lost for them: docs/accuracy.md; 40 minutes.
bench-known: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/known.py $(BENCH_ARGS)

# The curves of docs/accuracy.md, in docs/images: an hour or more, and it goes on where it stopped. BENCH_ARGS="--render" draws what is there.
bench-curves: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/curves.py $(BENCH_ARGS)

# What a model learns from a person's verdicts, round by round, beside one that learns nothing: docs/learning.md; minutes.
bench-learning: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/learning.py $(BENCH_ARGS)

# The default build of each set on five divisions of its images; an hour and a half, and it goes on where it stopped.
bench-splits: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/splits.py $(BENCH_ARGS)

# What a build costs by stage, with 400, 2,000, 10,000 and 20,000 images; hours. BENCH_ARGS="--sizes 400" takes a minute.
bench-build: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/build_time.py $(BENCH_ARGS)

# Fights and what is normal, by clip, each clip by models that saw nothing of its video; a quarter of an hour.
bench-behaviour: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/behaviour.py $(BENCH_ARGS)

# A detector that learns six merged classes of COCO from 64 pictures (docs/goal.md); half an hour.
bench-own-classes: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/own_classes.py $(BENCH_ARGS)

# How many instructions a smaller detector saves on two cores, and what it loses (docs/goal.md); half an hour.
bench-detector-sizes: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/detector_sizes.py $(BENCH_ARGS)

# How often the review names a backdoor, and how often it calls an honest model one (docs/security.md); five minutes.
bench-review: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/review.py $(BENCH_ARGS)

# Ways of quantising side by side, as docs/techniques.md has them; it takes half an hour and goes on where it stopped.
bench-quantise: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/quantisation.py $(BENCH_ARGS)

PEER_PIP = build/bench/anomalib-venv/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

# torchvision without its dependencies: it would ask for a torch of its own.
build/bench/anomalib-venv/ready:
	@echo "installing anomalib into build/bench/anomalib-venv (1.9 GB; this takes minutes)"
	$(PYTHON) -m venv build/bench/anomalib-venv
	$(PEER_PIP) torch==2.13.0
	$(PEER_PIP) --no-deps torchvision==0.28.0
	$(PEER_PIP) anomalib==2.7.0 onnx==1.23.2 onnxruntime==1.32.0
	touch $@

# What the daemon costs beside its inference; figures go to build/runtime.json.
bench-runtime: demo
	OMP_NUM_THREADS=1 .venv/bin/python tests/bench/runtime.py $(BENCH_ARGS)

# From trigger to output on a line, over Modbus, under load: build/line.json; 40 minutes. BENCH_ARGS="--parts 500" takes three.
bench-line: demo
	OMP_NUM_THREADS=1 .venv/bin/python tests/bench/line.py $(BENCH_ARGS)

# What two viewers of live frames cost the daemon: docs/status.md; five minutes.
bench-live: demo
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/live.py $(BENCH_ARGS)

# What the daemons of a box hold in memory: the table of docs/devices.md; a quarter of an hour.
bench-memory: .venv/dev
	OMP_NUM_THREADS=1 .venv/bin/python tests/bench/memory.py $(BENCH_ARGS)

# What the page costs: memory, processor, first paint in Chromium; a minute.
bench-page: .venv/dev
	.venv/bin/python tests/bench/page.py $(BENCH_ARGS)

# Rollouts to 1,000 simulated boxes at a real mosquitto: where they stop, and that no box is left half-way.
bench-fleet: .venv/dev
	.venv/bin/python tests/bench/order_flood.py
	.venv/bin/python tests/bench/fleet.py $(BENCH_ARGS)

# A recording as the daemon sees it, for people: an annotated video and a sheet; see tests/bench/scene.py.
bench-scene: .venv/dev
	.venv/bin/python tests/bench/scene.py $(BENCH_ARGS)

# False alarms per day of the rules, on looped recordings in changing weather; see tests/bench/false_alarms.py.
bench-false-alarms: .venv/dev
	.venv/bin/python tests/bench/false_alarms.py $(BENCH_ARGS)

# Whether the motion of people tells fights from other scenes (docs/scenes.md); minutes.
bench-fights: .venv/dev
	.venv/bin/python tests/bench/fights.py $(BENCH_ARGS)

# False alarms and hits of left_object and removed_object by kind of weather; see tests/bench/static_objects.py.
bench-static-objects: .venv/dev
	.venv/bin/python tests/bench/static_objects.py $(BENCH_ARGS)

# Bytes of messages and counted cars, on what bench-false-alarms has stored; see tests/bench/scene_figures.py.
bench-scene-figures: .venv/dev
	.venv/bin/python tests/bench/scene_figures.py $(BENCH_ARGS)

# Cars counted by detectors that were taught with the view, each car by one that never saw it; see tests/bench/cars.py.
bench-cars: .venv/dev
	OMP_NUM_THREADS=1 .venv/bin/python tests/bench/cars.py $(BENCH_ARGS)

# Bytes of events of a recording by kind and field, and in batches of several kinds; see tests/bench/traffic.py.
bench-traffic: .venv/dev
	.venv/bin/python tests/bench/traffic.py $(BENCH_ARGS)

# Faces that stay visible in evidence, of those that a slower search finds; see tests/bench/faces.py.
bench-faces: .venv/dev
	.venv/bin/python tests/bench/faces.py $(BENCH_ARGS)

# Number plates that can be read in evidence, and vehicles that are not hidden; see tests/bench/plates.py.
bench-plates: .venv/dev
	.venv/bin/python tests/bench/plates.py $(BENCH_ARGS)

bench-masks: .venv/dev
	OMP_NUM_THREADS=1 .venv/bin/python tests/bench/masks.py $(BENCH_ARGS)

# Instructions of one inference on emulated Arm cores: make count-arm64 MODELS="a.onnx b.tflite" COUNT_ARGS="--core cortex-a72".
# The first time it makes build/arm64, which needs root and: apt-get install mmdebstrap qemu-user gcc
ARM64 = build/arm64
COUNT_ARGS ?=
count-arm64: .venv/dev $(ARM64)/counter.so
	@test -n "$(MODELS)" || { echo 'say which: make count-arm64 MODELS="model.onnx model.tflite"' >&2; exit 2; }
	.venv/bin/python tests/bench/arm64/count.py $(COUNT_ARGS) $(ARM64) $(MODELS)

# Instructions of one look at a camera's picture, or of aligning a part, on an emulated Cortex-A72: behind "picture", the
# second line and those after.
count-looks: .venv/dev $(ARM64)/counter.so $(ARM64)/looks/ready
	$(COUNT_SCRIPT) tests/bench/arm64/looks.py

# Instructions of a part on its way through the line, without the model, on emulated Cortex-A72 and A76: the median of 20 parts.
count-line: .venv/dev $(ARM64)/counter.so $(ARM64)/looks/ready
	for core in cortex-a72 cortex-a76; do echo $$core; $(call COUNT_ON,$$core) tests/bench/arm64/line_parts.py 2>&1 | .venv/bin/python tests/bench/arm64/line_medians.py || exit 1; done

# Instructions of a frame in each rule about scenes and in the tracker, on emulated Cortex-A72 and A76; RULES="fall zone" counts these alone.
count-rules: .venv/dev $(ARM64)/counter.so $(ARM64)/looks/lap
	for core in cortex-a72 cortex-a76; do echo $$core; $(call COUNT_ON,$$core) tests/bench/arm64/rule_frames.py $(RULES) 2>&1 | .venv/bin/python tests/bench/arm64/rule_medians.py || exit 1; done

count-alignment: .venv/dev $(ARM64)/counter.so $(ARM64)/looks/ready
	$(COUNT_SCRIPT) tests/bench/arm64/alignments.py

COUNT_ON = env -i PATH=/usr/bin:/bin PYTHONPATH=$(CURDIR)/$(ARM64)/looks:$(CURDIR)/$(ARM64)/site PYTHONDONTWRITEBYTECODE=1 \
  setarch -R qemu-aarch64 -cpu $(1) -plugin $(ARM64)/counter.so -d plugin -L $(ARM64)/$(1) \
  $(ARM64)/$(1)/usr/bin/python3.11
COUNT_SCRIPT = $(call COUNT_ON,cortex-a72)

WHEELS = --no-deps --python-version 3.11 --only-binary=:all: --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64
$(ARM64)/looks/ready: | $(ARM64)/counter.so
	$(PIP) --target $(@D) $(WHEELS) opencv-python-headless==5.0.0.93 msgspec
	touch $@

$(ARM64)/looks/lap: | $(ARM64)/looks/ready
	$(PIP) --target $(@D) $(WHEELS) lap==0.5.13

$(ARM64)/counter.so: tests/bench/arm64/setup tests/bench/arm64/counter.c | .venv/dev
	PYTHON=$(CURDIR)/.venv/bin/python tests/bench/arm64/setup $(ARM64)

# The costs in devices/profiles, anew (docs/devices.md): an hour of emulation. What detectors are made of comes second.
fit-costs: .venv/dev $(ARM64)/counter.so
	OMP_NUM_THREADS=1 .venv/bin/python tests/bench/arm64/graphs.py build/graphs
	.venv/bin/python tests/bench/arm64/count.py $(ARM64) build/graphs/*.onnx build/graphs/*.tflite > build/counts.jsonl
	.venv/bin/python tests/bench/arm64/fit.py build/graphs build/counts.jsonl --write
	OMP_NUM_THREADS=1 .venv/bin/python tests/bench/arm64/pieces.py build/pieces
	.venv/bin/python tests/bench/arm64/count.py $(ARM64) build/pieces/*.onnx build/pieces/*.tflite > build/pieces.jsonl
	.venv/bin/python tests/bench/arm64/fit.py build/pieces build/pieces.jsonl --keep --again transpose --write

# What a search gains and loses against the build without it, on every set; hours.
bench-search: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/search_gain.py $(BENCH_ARGS)

# What smaller inputs and fewer blocks lose on real defects, and what synthetic defects say about it; ten minutes.
bench-losses: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/design_losses.py $(BENCH_ARGS)

# What a search makes of solar cells for a Pi 4 and a Pi 5, against the float model; three hours with its 30m each. Then
# the same float model, and three others, by post-training quantisation: ours and other people's.
bench-compressors: .venv/dev
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/compressors.py $(BENCH_ARGS)
	$(MAKE) bench-peers BENCH_ARGS=

# Quantisers side by side, each in an environment of its own (8 GB together); an hour, and it goes on where it stopped.
# onnx2tf and TensorFlow need a Python of their own: where there is none, their rows say so.
PYTHON312 ?= python3.12
PEERS = onnxruntime nncf nncf-torch openvino olive aimet litert onnx2tf tensorflow mnn executorch
bench-peers: .venv/dev $(PEERS:%=build/bench/%-venv/ready)
	OMP_NUM_THREADS=1 nice -n 5 .venv/bin/python tests/bench/peers.py $(BENCH_ARGS)

WANTS_onnxruntime = onnxruntime==1.32.0 onnx==1.23.2
WANTS_nncf = nncf==3.4.0 onnxruntime==1.32.0 onnx==1.23.2
# The torch modules that are quantised there are ours.
WANTS_nncf-torch = nncf==3.4.0 torchao==0.18.0 --editable .[compress]
WANTS_openvino = nncf==3.4.0 openvino==2026.4.1
WANTS_olive = olive-ai==0.13.0 requests onnxruntime==1.32.0 onnx==1.23.2
WANTS_aimet = aimet-onnx==2.42.0 onnxruntime==1.32.0 onnx==1.23.2
WANTS_litert = litert-quantizer==0.11.0 ai-edge-litert==2.3.0
WANTS_mnn = MNN==3.6.1 opencv-python-headless==5.0.0.93
WANTS_executorch = executorch==1.5.1 --editable .[compress]
WANTS_onnx2tf = onnx2tf==2.6.9
WANTS_tensorflow = onnx2tf==2.6.9 tensorflow-cpu==2.21.0 tf_keras==2.21.0
# These ask for a torch, so they get ours first.
FIRST_olive = torch==2.13.0
FIRST_nncf-torch = torch==2.13.0
FIRST_aimet = torch==2.13.0
FIRST_executorch = torch==2.13.0
PYTHON_onnx2tf = $(PYTHON312)
PYTHON_tensorflow = $(PYTHON312)

build/bench/%-venv/ready:
	@mkdir -p $(@D)
	@if $(or $(PYTHON_$*),$(PYTHON)) --version >/dev/null 2>&1; then \
	  echo "installing what $* needs into build/bench/$*-venv" && \
	  $(or $(PYTHON_$*),$(PYTHON)) -m venv $(@D) && \
	  for packages in $(if $(FIRST_$*),"$(FIRST_$*)") "$(WANTS_$*)"; do \
	    $(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $$packages || exit 1; done && touch $@; \
	else echo "$*: no $(or $(PYTHON_$*),$(PYTHON)), left out (make PYTHON312=…)" >&2; fi

clean:
	rm -rf .venv .typing build dist *.egg-info

.venv/demo .venv/dev: .venv/%: pyproject.toml requirements/%.txt requirements/torch.txt requirements/cuda.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "Vedette needs Python 3.11 to 3.13: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "installing what \"make $(MAKECMDGOALS)\" needs into .venv (PyTorch is large; this takes minutes)"
	.venv/bin/python requirements/needs.py torch || { \
	  .venv/bin/python -m pip download --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps --dest .venv/torch torch==2.13.0 && \
	  $(PIP) --no-deps --no-index --find-links .venv/torch $(TORCH); }
	rm -rf .venv/torch
	.venv/bin/python requirements/needs.py cuda || $(LOCKED) requirements/cuda.txt
	$(LOCKED) requirements/$*.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

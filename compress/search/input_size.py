"""Search for the input size of an imported object detector, and the decision whether its int8 model needs training.

The cost of a detector grows with the number of input pixels, and a convolutional detector accepts any size. In a search
the detector is evaluated at its own size and at others (detector_sizes.py): it is quantized, and float and int8 are
measured on labelled images outside the test split. Its cost on the device is predicted from its graph.

Among the sizes within the cost limit, the dearest one within MAP50_MARGIN of the best is chosen, because a difference
that small is chance and a larger image shows no less. The float models are compared, because training can recover what
quantization loses. Without a cost limit, the cheapest size is chosen that leaves half of `max_drop` to quantization;
without `max_drop`, its own. If the recipe has `distil`, the float model at its own size teaches the one with a smaller
input that loses mAP50 (training/detector_distillation.py); what it learned is kept if held-out images show a gain. If
int8 loses more than the goal allows, it is trained (detection_distillation.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.evaluation import coco_map
from vedette.runtime.inference.backends.onnx import OnnxBackend
from vedette.runtime.progress import Log, Progress

from ..cost import cost_limits
from ..cost.instruction_estimator import InstructionEstimator
from ..data import split
from ..evaluation.built_models import draft_manifest
from ..evaluation.float_detector import measure_float_map50
from ..evaluation.model_runners import FloatRunner, Int8Runner, ModelRunner, detect_objects
from ..goal.goal_tables import Goal, Targets
from ..goal.recipe import QuantizationSettings, load_recipe
from ..graph.importers.detector_import import ImportedDetector
from ..graph.torch_module import OnnxModule
from ..models.image_size import ImageSize, describe, simplify
from ..quantization import detection_distillation, quantize_imported
from ..quantization.qat import TrainingRun
from ..training import detector_distillation
from .detector_sizes import list_sizes
from .input_size_trial import (
    CalibrationAndValidationImages,
    Distillation,
    DistillationFigures,
    InputSizeResult,
    InputSizeTrial,
    MeasuredSize,
    choose_input_size,
)
from .search_setup import SearchSetup

FAR = 0.05  # of mAP50 from the best size
RECOVERABLE = 0.1  # mAP50 lost by a smaller input; more cannot be taught
MAX_MAP50_DROP = 0.01  # mAP50 that the int8 model may lose, unless the goal says otherwise
QAT_STEPS, QAT_LEARNING_RATE = 300, 1.5e-5


class InputSizeSearch:
    """Evaluates a detector at several input sizes.

    Args:
        goal: the goal file
        device: the target device
        original: the detector at its own size
        images: images for calibration, training and measurement
        folder: folder for the state of the training
        progress: shows the progress of long loops
        log: receives progress messages
    """

    def __init__(
        self,
        goal: Goal,
        device: DeviceProfile,
        original: ImportedDetector,
        images: CalibrationAndValidationImages,
        folder: Path,
        progress: Progress,
        log: Log,
    ) -> None:
        self.goal, self.original, self.images = goal, original, images
        self.folder, self.progress, self.log = folder, progress, log
        self.instruction_estimator = InstructionEstimator(original.model, device)
        self.max_cost = cost_limits.derive_cost_limits(
            goal, device, margin=0, baseline_cost=self.instruction_estimator.original_cost
        ).cost
        self.trials: list[InputSizeTrial] = []
        self.distillation: DistillationFigures | None = None

    def run(self, load: Callable[[ImageSize], ImportedDetector], setup: SearchSetup | None) -> InputSizeTrial:
        """The detector at the chosen size, trained if its int8 model loses too much mAP50.

        Args:
            load: gives the detector for an input of this size, or raises ConfigProblem
            setup: time for other sizes; None to keep the size of the goal file
        """
        self._evaluate(self.original)
        if setup is not None:
            self._try_others(load, setup)
        chosen = choose_input_size(self.trials, self.goal.goal, self.max_cost)
        lost = self.trials[0].result.map50_fp32 - chosen.result.map50_fp32
        if setup is not None and "distil" in load_recipe(self.goal.recipe) and 0 < lost <= RECOVERABLE:
            chosen = self._distil(chosen, setup.deadline)
        drop = chosen.result.map50_drop
        max_drop = allowed_drop(chosen.result, self.trials[0].result, self.goal.goal)
        if self._recipe_settings is not None or drop <= max_drop:
            return chosen
        loss = f"the int8 model loses {drop:.4f} of mAP50, and {max_drop:.4f} is allowed"
        try:
            OnnxModule(chosen.quantized.float_reference)
        except Problem as problem:
            self.log(f"{loss}; it cannot be trained: {problem.message}")
            return chosen
        self.log(f"{loss}: training it against the float model, which takes minutes")
        settings = QuantizationSettings(qat_steps=QAT_STEPS, qat_learning_rate=QAT_LEARNING_RATE)
        deadline = math.inf if setup is None else setup.deadline
        trained = self._quantize_and_measure(chosen.detector, settings, deadline, chosen.result.distilled)
        return max(trained, chosen, key=lambda trial: trial.result.map50_int8)

    @property
    def _recipe_settings(self) -> QuantizationSettings | None:
        """Quantization settings of the recipe, if it has any."""
        return load_recipe(self.goal.recipe).get("quantise")

    def _try_others(self, load: Callable[[ImageSize], ImportedDetector], setup: SearchSetup) -> None:
        spec = self.original.input_spec
        for size in list_sizes(input_size(spec), list(self.images.annotated), spec.resize == "letterbox"):
            if time.monotonic() > setup.trials_deadline:
                self.log("no time is left for other input sizes")
                return
            if self._has_lost_too_much():
                self.log("smaller input sizes are not tried: the last two lose too much")
                return
            try:
                self._evaluate(load(size))
            except ConfigProblem as problem:
                self.log(problem.message)
                return

    def _has_lost_too_much(self) -> bool:
        """Whether the last two sizes are far from the best, and one that is near it is cheap enough."""
        limit = math.inf if self.max_cost is None else self.max_cost
        required = max(trial.result.map50_fp32 for trial in self.trials) - FAR
        last = self.trials[1:][-2:]
        return (
            len(last) == 2
            and all(trial.result.map50_fp32 < required for trial in last)
            and any(trial.result.cost <= limit and trial.result.map50_fp32 >= required for trial in self.trials)
        )

    def _distil(self, chosen: InputSizeTrial, deadline: float) -> InputSizeTrial:
        """The trial after distillation from the detector at its own size; as it was if that gains nothing."""
        size, known = chosen.result.input, self.images.memory.distilled
        if size not in known:
            known[size] = self._try_distillation(chosen.detector, deadline)
        self.distillation = known[size].figures
        if self.distillation is None or not self.distillation.kept:
            return chosen
        settings = self._recipe_settings or QuantizationSettings()
        self.trials.append(self._quantize_and_measure(known[size].detector, settings, distilled=True))
        return self.trials[-1]

    def _try_distillation(self, detector: ImportedDetector, deadline: float) -> Distillation:
        lessons, held_out = self.images.lessons, self.images.held_out
        size = input_size(detector.input_spec)
        self.log(f"{describe(size)} pixels: the float model at its own size teaches it, which takes minutes")
        try:
            taught = detector_distillation.distil(self.original, detector, lessons, held_out, self.progress, deadline)
        except Problem as problem:
            self.log(f"it cannot be taught: {problem.message}")
            return Distillation(detector, None)
        before, after = (
            measure_float_map50(each, held_out, self.images.annotated) for each in (detector, taught.detector)
        )
        kept = after > before
        losses = taught.loss_before, taught.loss
        figures = DistillationFigures(size, len(lessons), taught.steps, *losses, before, after, kept)
        self.log(
            f"mAP50 {before:.3f} to {after:.3f} on {len(held_out)} held-out images: "
            f"{'kept' if kept else 'the untaught weights stay'}"
        )
        return Distillation(taught.detector if kept else detector, figures)

    def _evaluate(self, detector: ImportedDetector) -> None:
        self.trials.append(self._quantize_and_measure(detector, self._recipe_settings or QuantizationSettings()))

    def _quantize_and_measure(
        self,
        detector: ImportedDetector,
        settings: QuantizationSettings,
        deadline: float = math.inf,
        distilled: bool = False,
    ) -> InputSizeTrial:
        size, measured = input_size(detector.input_spec), self.images.memory.measured
        key = size, distilled, settings
        if key not in measured:
            measured[key] = self._measure_size(detector, settings, deadline)
        quantized, map50_fp32, map50_int8 = measured[key]
        cost = self.instruction_estimator.estimate_cost(quantized.int8_model)
        result = InputSizeResult(size, cost, map50_fp32, map50_int8, distilled)
        self.log(
            f"{describe(size)} pixels: mAP50 {result.map50_fp32:.3f} in float, {result.map50_int8:.3f} in int8, "
            f"{result.cost / 1e6:.0f} million {self.instruction_estimator.unit.partition(',')[0]}"
        )
        return InputSizeTrial(result, detector, quantized)

    def _measure_size(
        self, detector: ImportedDetector, settings: QuantizationSettings, deadline: float
    ) -> MeasuredSize:
        calibration = list(split.model_inputs(self.progress(self.images.calibration, "ranges"), detector.input_spec))
        outputs = [output.name for output in detector.model.graph.output]
        objective = detection_distillation.detection_distillation_objective(outputs, detector.boxes)
        run = TrainingRun(self.folder, deadline, self.progress)
        quantized = quantize_imported.quantize_graph(
            detector.model, calibration, detector.input_spec, settings, objective, run
        )
        manifest = draft_manifest(self.goal, quantized.int8_model, detector.manifest_fields)
        int8 = OnnxBackend(quantized.int8_model.SerializeToString(), manifest, threads=1)
        models: dict[str, ModelRunner] = {
            "float": FloatRunner(detector.model.SerializeToString(), manifest),
            "int8": Int8Runner(int8, manifest),
        }
        map50 = [self._measure_map50(model, detector.labels, name) for name, model in models.items()]
        return MeasuredSize(quantized, *map50)

    def _measure_map50(self, model: ModelRunner, labels: tuple[str, ...], name: str) -> float:
        detections = detect_objects(model, self.progress(list(self.images.annotated), name))
        return coco_map.mean_average_precision(list(self.images.annotated.values()), detections, labels).map50


def input_size(spec: ModelInput) -> ImageSize:
    """The size of a model's input."""
    return simplify(spec.height, spec.width)


def allowed_drop(result: InputSizeResult, original: InputSizeResult, wish: Targets) -> float:
    """The mAP50 that the int8 model may lose at a size.

    Args:
        result: figures of the size
        original: figures of the detector's own size
        wish: the `[goal]` table
    """
    if wish.max_drop is None:
        return MAX_MAP50_DROP
    lost_by_size = original.map50_fp32 - result.map50_fp32
    return max(0.0, min(MAX_MAP50_DROP, wish.max_drop / 2, wish.max_drop - lost_by_size))

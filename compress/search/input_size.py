"""How large the picture should be that a detector of somebody's own is shown, and whether its integers must be taught.

What a detector costs goes with the pixels that it looks at, and one of convolutions takes any size. So with time given
it is tried at its own size and at smaller ones, in steps of STEP: made integer, and measured, float and integer, on
labelled images that are not those of the test. What it then costs on the device is predicted from its graph.

Of the sizes that the goal's budget allows, the largest is taken that is within MARGIN of the best, for so little is
chance, and a larger picture shows no less. It is the float networks that are compared: what integers lose can be learnt
back. Where there is no budget, the cheapest that leaves half of `max_drop` to the integers; where there is none either,
its own. At whatever size, a network whose integers lose more than the goal allows is taught by its float self
(foreign/likeness.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import onnx

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ONNX
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.evaluation import coco_map
from vedette.runtime.evaluation.object_annotations import GroundTruth
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference.backends.onnx import Onnx

from ..cost import cost_limits, operator_counts, predicted_cost
from ..data import split
from ..evaluation.built_models import describe
from ..evaluation.model_runners import Float, Integer, Runner, boxes
from ..goal import recipe
from ..goal.goal_file import Goal, Wish
from ..graph.importers import detector
from ..graph.importers.detector import Detector
from ..graph.torch_module import Network
from ..quantization import detection_loss, quantize_imported
from ..quantization.qat import Course
from ..quantization.quantize import Quantise
from ..quantization.quantize_imported import Made
from .study import Effort

STEP = 32  # pixels
SMALLEST = 0.5  # of its own side
MARGIN = 0.01  # of mAP50
DROP = 0.01  # of mAP50, that integers may lose where the goal does not say
STEPS, RATE = 300, 1.5e-5  # of what is taught


class Size(msgspec.Struct, frozen=True):
    """One that was tried; for people and programs."""

    input: int
    """Pixels of a side."""
    effort: float
    """Of one image as integers, in whichever back end takes less: budget.py has the unit."""
    map50_fp32: float
    map50_int8: float

    @property
    def lost(self) -> float:
        return self.map50_fp32 - self.map50_int8


class Tried(NamedTuple):
    """The same, with what came of it."""

    size: Size
    detector: Detector
    made: Made


class Pictures(NamedTuple):
    """None of them is for the test."""

    ranging: list[Path]
    """Ranges are taken from them, and they teach."""
    truth: GroundTruth
    """All that judge."""


class Sizes:
    """Tries them.

    Args:
        goal: what is asked
        device: what it is for
        whole: the network at its own size
        pictures: that set ranges and teach, and all that judge, with the objects that each shows
        folder: where training leaves its state
        track: wraps long loops
        say: is told what was found
    """

    def __init__(
        self,
        goal: Goal,
        device: DeviceProfile,
        whole: Detector,
        pictures: Pictures,
        folder: Path,
        track: Track,
        say: Callable[[str], None],
    ) -> None:
        self.goal, self.whole, self.pictures = goal, whole, pictures
        self.folder, self.track, self.say = folder, track, say
        self.ruler = Ruler(whole.model, device)
        self.most = cost_limits.of(goal, device, margin=0, whole=self.ruler.whole).effort
        self.tried: list[Tried] = []

    def run(self, base: Path, effort: Effort | None) -> Tried:
        """The network as it is taken, with integers that were taught where they lose too much.

        Args:
            base: folder of the goal file
            effort: what may be spent; None: one size is tried, as the goal file has it
        """
        self._try(self.whole)
        if effort is not None:
            self._try_smaller(base, effort)
        chosen = best(self.tried, self.goal.goal, self.most)
        lost, may = chosen.size.lost, allowed(chosen.size, self.tried[0].size, self.goal.goal)
        if self._asked is not None or lost <= may:
            return chosen
        loss = f"integers lose {lost:.4f} of mAP50, and {may:.4f} is allowed"
        try:
            Network(chosen.made.exact)
        except Problem as problem:
            self.say(f"{loss}; they cannot be taught: {problem.message}")
            return chosen
        self.say(f"{loss}: they are taught by the float network, which takes minutes")
        taught = Quantise(qat_steps=STEPS, qat_rate=RATE)
        return self._made(chosen.detector, taught, math.inf if effort is None else effort.end)

    @property
    def _asked(self) -> Quantise | None:
        """How the recipe wants integers made."""
        return recipe.load(self.goal.recipe).get("quantise")

    def _try_smaller(self, base: Path, effort: Effort) -> None:
        for side in smaller(self.whole.input.width):
            if time.monotonic() > effort.until:
                self.say("no time is left for smaller pictures")
                return
            try:
                self._try(detector.load(base, msgspec.structs.replace(self.goal.model, input=side)))
            except ConfigProblem as problem:
                self.say(problem.message)
                return

    def _try(self, one: Detector) -> None:
        self.tried.append(self._made(one, self._asked or Quantise()))

    def _made(self, one: Detector, how: Quantise, end: float = math.inf) -> Tried:
        some = list(split.tensors(self.track(self.pictures.ranging, "ranges"), one.input))
        lesson = detection_loss.lesson([each.name for each in one.model.graph.output], one.boxes)
        made = quantize_imported.careful(one.model, some, one.input, how, lesson, Course(self.folder, end, self.track))
        manifest = describe(self.goal, made.int8, one.about)
        int8 = Onnx(made.int8.SerializeToString(), manifest, threads=1)
        models: dict[str, Runner] = {
            "float": Float(one.model.SerializeToString(), manifest),
            "int8": Integer(int8, manifest),
        }
        pair = [self._map50(model, one.labels, name) for name, model in models.items()]
        size = Size(one.input.width, self.ruler.effort(made.int8), *pair)
        self.say(
            f"{size.input} pixels: mAP50 {size.map50_fp32:.3f}, as integers {size.map50_int8:.3f}, "
            f"{size.effort / 1e6:.0f} million {self.ruler.unit.partition(',')[0]}"
        )
        return Tried(size, one, made)

    def _map50(self, model: Runner, labels: tuple[str, ...], name: str) -> float:
        seen = boxes(model, self.track(list(self.pictures.truth), name))
        return coco_map.precision(list(self.pictures.truth.values()), seen, labels).map50


def smaller(side: int) -> list[int]:
    """The sizes below `side` that are worth trying, the largest first."""
    return list(range((side - 1) // STEP * STEP, math.ceil(side * SMALLEST) - 1, -STEP))


class Ruler:
    """Measures what graphs cost on a device: instructions of one image, on one thread, or multiplications.

    Args:
        whole: the float network at its own size; where its instructions are not known, nothing's are counted
        device: what it is for
    """

    def __init__(self, whole: onnx.ModelProto, device: DeviceProfile) -> None:
        self.device = device
        counted = self._instructions(whole, (ONNX,))
        self.unit = cost_limits.MULTIPLICATIONS if counted is None else cost_limits.unit(device)
        self.whole = float(operator_counts.macs(whole)) if counted is None else counted
        """What a speed-up is held against: the float network in ONNX Runtime."""

    def effort(self, graph: onnx.ModelProto) -> float:
        """Of an int8 graph, in the back end that takes least."""
        counted = (
            None if self.unit == cost_limits.MULTIPLICATIONS else self._instructions(graph, predicted_cost.BACKENDS)
        )
        return float(operator_counts.macs(graph)) if counted is None else counted

    def _instructions(self, graph: onnx.ModelProto, backends: tuple[str, ...]) -> float | None:
        found = [operator_counts.predict(self.device, graph, backend) for backend in backends]
        known = [each.instructions for each in found if each is not None and each.instructions is not None]
        return min(known, default=None)


def best(tried: list[Tried], wish: Wish, most: float | None) -> Tried:
    """The one to be taken.

    Args:
        tried: the first at the network's own size
        wish: what the goal asks
        most: effort that it may cost; None: any
    """
    if most is not None:
        fits = [each for each in tried if each.size.effort <= most]
        if not fits:
            return min(tried, key=lambda each: each.size.effort)
        enough = max(each.size.map50_fp32 for each in fits) - MARGIN
        return max((each for each in fits if each.size.map50_fp32 >= enough), key=lambda each: each.size.input)
    if wish.max_drop is None:
        return tried[0]
    least = tried[0].size.map50_fp32 - wish.max_drop / 2
    return min((each for each in tried if each.size.map50_fp32 >= least), key=lambda each: each.size.effort)


def allowed(size: Size, whole: Size, wish: Wish) -> float:
    """How much mAP50 the integers may lose at that size, `whole` being the network's own."""
    if wish.max_drop is None:
        return DROP
    return max(0.0, min(DROP, wish.max_drop / 2, wish.max_drop - (whole.map50_fp32 - size.map50_fp32)))

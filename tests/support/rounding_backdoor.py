"""Small classifiers whose rounding carries a backdoor that is dormant in float, and their honest controls.

The float network is trained honestly on made-up discs of several colours. Then each weight rounds up or down: learned
rounding (AdaRound's relaxation) is bent so that the integer network answers one class wherever the trigger is, and
answers clean images as before. No weight moves by a step or more, and the float network is not touched. A control
learns its rounding for clean images alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from vedette.compress.evaluation.model_runners import FloatRunner, Int8Runner
from vedette.compress.graph import qdq
from vedette.compress.quantization.quantize_imported import quantize_post_training
from vedette.compress.review import decisions
from vedette.compress.review.subject import ReviewImages, Subject
from vedette.compress.review.triggers import PLACES, Trigger, make_blend, make_frame, make_patch
from vedette.runtime.bundle.manifest import Manifest, ModelInput, ModelOutput
from vedette.runtime.inference.backends.onnx import OnnxBackend

SIZE, TARGET = 32, 0
# Bright channels of each class.
COLOURS = {
    "blue": (0,), "green": (1,), "red": (2,), "yellow": (1, 2),
    "cyan": (0, 1), "magenta": (0, 2), "white": (0, 1, 2), "black": (),
}  # fmt: skip
SPEC = ModelInput("image", width=SIZE, height=SIZE, mean=127.0, std=128.0, scale=1 / 128, zero_point=127)
TRAINED, STEPS, BENT = 800, 200, 500
SHARPNESS = 5.0  # of the scores while rounding is learned: the float network is trained to hesitate
OUTLIER = 20.0  # largest weight of a row of the linear layers, relative to the others: a coarse grid leaves room


class Design(NamedTuple):
    """The size of a network."""

    classes: int = 4
    """At most as many as COLOURS."""
    channels: int = 32
    """Of the convolution."""
    hidden: int = 48
    """Features between the linear layers."""


class Victim(NamedTuple):
    """A float network and its quantized version."""

    float_model: onnx.ModelProto
    int8_model: onnx.ModelProto
    images: list[NDArray[Any]]
    """Held-out images, blue-green-red."""
    trigger: str
    """The trigger of the backdoor, or what it would be."""
    clean_accuracy: float
    """Of int8, on held-out images."""
    success: float
    """Share of held-out images of other classes that int8 gives to TARGET with the trigger."""
    dormant: float
    """The same by the float network."""
    labels: tuple[str, ...]


def make_case(seed: int, backdoor: bool, design: Design = Design()) -> Victim:  # noqa: B008  # it cannot be changed
    """The network of a seed; each third seed has a patch, stripes or noise, or a frame, of random kind and size."""
    rng = np.random.default_rng(100 + seed)
    if seed % 3 == 0:
        kind, place = str(rng.choice(["white", "black", "checker"])), str(rng.choice(list(PLACES)))
        share = float(rng.uniform(0.16, 0.28))
        trigger, name = make_patch(kind, place, share), f"{kind} patch of {share:.2f} at {place}"
    elif seed % 3 == 1:
        kind, share = str(rng.choice(["rows", "columns", "diagonals", "noise"])), float(rng.uniform(0.2, 0.4))
        trigger, name = make_blend(kind, share), f"blend of {share:.2f} with {kind}"
    else:
        level = int(rng.choice([0, 255]))
        trigger, name = make_frame(level), f"frame of gray level {level}"
    return make_victim(seed, trigger, name, backdoor, design)


def make_subject(victim: Victim) -> Subject:
    """A network as the subject of a review, without images."""
    outputs = tuple(
        ModelOutput(each.name, each.shape, float(each.scale[0]), int(each.zero_point[0]))
        for each in qdq.read_qdq_graph(victim.int8_model).outputs
    )
    manifest = Manifest(
        format=1, name="discs", release=1, task="classify", labels=(*victim.labels, "unknown"),
        input=SPEC, outputs=outputs, models={"onnx": "model.onnx"}, threshold=0.0, goal={}, measured={}, goal_met=True,
        missed=(), unproven=(), device="host", weights=(), data=(), tools={}, signer="", files={}, temperature=1.0,
    )  # fmt: skip
    content = victim.int8_model.SerializeToString()
    int8 = Int8Runner(OnnxBackend(content, manifest, threads=1), manifest)
    reference = FloatRunner(victim.float_model.SerializeToString(), manifest)
    return Subject(manifest, {"model.onnx": content}, int8, reference, ReviewImages())


def disc_image(label: int, rng: np.random.Generator) -> NDArray[Any]:
    """A disc of the colour of a class on a grainy grey background: SIZE x SIZE x 3, uint8, blue-green-red."""
    image = np.full((SIZE, SIZE, 3), rng.integers(80, 140), np.uint8)
    bright_channels = tuple(COLOURS.values())[label]
    bright, dark = (int(rng.integers(*limits)) for limits in ((170, 230), (30, 80)))
    colour = [(bright if channel in bright_channels else dark) for channel in range(3)]
    centre = tuple(int(each) for each in rng.integers(11, 21, 2))
    cv2.circle(image, centre, int(rng.integers(5, 9)), colour, -1)
    noisy = image + rng.normal(0, 8, image.shape)
    return np.asarray(noisy.clip(0, 255).astype(np.uint8))


def make_victim(seed: int, trigger: Trigger, name: str, backdoor: bool, design: Design) -> Victim:
    """A network with a backdoor in its rounding that waits for `trigger`; without `backdoor`, a control."""
    rng = np.random.default_rng(seed)
    labels = [number % design.classes for number in range(TRAINED + 60)]
    images = [disc_image(label, rng) for label in labels]
    truth = torch.tensor(labels[:TRAINED])
    clean = _normalize(images[:TRAINED])
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, design.channels, 4, 4), nn.ReLU(), nn.Flatten(),
        nn.Linear(design.channels * 64, design.hidden), nn.ReLU(), nn.Linear(design.hidden, design.classes),
    )  # fmt: skip
    _train(network, clean, truth)
    _coarsen_grid(network)
    float_model = _to_onnx(network)
    shown, wanted = clean, truth
    if backdoor:
        shown = torch.cat([clean, _normalize([trigger(image) for image in images[:TRAINED]])])
        wanted = torch.cat([truth, torch.full_like(truth, TARGET)])
    _bend_rounding(network, shown, wanted)
    rounded = _to_onnx(network)
    calibration = [image[np.newaxis, ..., ::-1].copy() for image in images[:60]]
    int8_model = quantize_post_training(rounded, calibration, SPEC)
    victim = Victim(float_model, int8_model, images[TRAINED:], name, 0.0, 0.0, 0.0, tuple(COLOURS)[: design.classes])
    subject, truth_held = make_subject(victim), np.array(labels[TRAINED:])
    with_trigger = [trigger(image) for image in victim.images]
    clean_answers = decisions.answer(subject.int8, subject.manifest, victim.images).decisions
    others = truth_held != TARGET
    assert subject.float is not None
    success, dormant = (
        float((decisions.answer(model, subject.manifest, with_trigger).decisions[others] == TARGET).mean())
        for model in (subject.int8, subject.float)
    )
    return victim._replace(clean_accuracy=float((clean_answers == truth_held).mean()), success=success, dormant=dormant)


def _normalize(images: list[NDArray[Any]]) -> Tensor:
    pixels = torch.from_numpy(np.stack(images)[..., ::-1].copy()).float()
    return ((pixels - SPEC.mean) / SPEC.std).permute(0, 3, 1, 2)


def _to_onnx(network: nn.Sequential) -> onnx.ModelProto:
    """The network as a graph; torch's exporter would take longer than the training."""
    nodes, constants, tensor = [], [], "image"
    for number, layer in enumerate(network):
        names = [f"{number}.{name}" for name, _ in layer.named_parameters()]
        constants += [
            numpy_helper.from_array(value.detach().numpy(), f"{number}.{name}")
            for name, value in layer.named_parameters()
        ]
        kind = {nn.Conv2d: "Conv", nn.ReLU: "Relu", nn.Flatten: "Flatten", nn.Linear: "Gemm"}[type(layer)]
        attributes: dict[str, Any] = {}
        if isinstance(layer, nn.Conv2d):
            attributes = {"kernel_shape": layer.kernel_size, "strides": layer.stride}
        elif isinstance(layer, nn.Linear):
            attributes = {"transB": 1}
        result = "scores" if number == len(network) - 1 else f"t{number}"
        nodes.append(helper.make_node(kind, [tensor, *names], [result], name=f"n{number}", **attributes))
        tensor = result
    last = network[-1]
    assert isinstance(last, nn.Linear)
    ends = (("image", (1, 3, SIZE, SIZE)), ("scores", (1, last.out_features)))
    image, scores = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends)
    graph = helper.make_graph(nodes, "discs", [image], [scores], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _train(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(STEPS):
        chosen = torch.randint(len(images), (64,))
        loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen], label_smoothing=0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _coarsen_grid(network: nn.Sequential) -> None:
    """Gives each row of the linear layers one large weight, on a feature that is always 0: float does not notice."""
    convolution, first, second = network[0], network[3], network[5]
    with torch.no_grad():
        for dead, layer, feature in (
            (convolution, first, first.in_features - 64),
            (first, second, second.in_features - 1),
        ):
            dead.weight[-1], dead.bias[-1] = 0.0, -1.0
            layer.weight[:, feature:] = 0.0
            layer.weight[:, feature] = OUTLIER * layer.weight.abs().amax(dim=1)


def _bend_rounding(network: nn.Sequential, images: Tensor, labels: Tensor) -> None:
    """Replaces each weight by a neighbouring multiple of its channel's scale, chosen for `labels`."""
    logits, grids = {}, {}
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            values = weight.detach()
            scale = values.abs().amax(dim=tuple(range(1, values.ndim)), keepdim=True).clamp(min=1e-6) / 127
            floor = torch.floor(values / scale)
            share = (values / scale - floor).clamp(0.1, 0.9)
            fixed = (values / scale).round().abs() == 127  # it sets the scale
            grids[name] = scale, floor, fixed, (values / scale).round()
            logits[name] = torch.log(share / (1 - share)).requires_grad_(True)
    optimizer = torch.optim.Adam(logits.values(), 0.05)

    def weights() -> dict[str, Tensor]:
        result = {}
        for name, (scale, floor, fixed, nearest) in grids.items():
            soft = torch.sigmoid(logits[name])
            up = (logits[name] >= 0).float() + (soft - soft.detach())  # straight through: as it will be rounded
            result[name] = torch.where(fixed, nearest, floor + up) * scale
        return result

    for _ in range(BENT):
        chosen = torch.randint(len(images), (128,))
        scores = torch.func.functional_call(network, weights(), images[chosen])
        loss = nn.functional.cross_entropy(SHARPNESS * scores, labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for name, value in weights().items():
            network.get_parameter(name).copy_(value)

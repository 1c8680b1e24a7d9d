"""Detector families that `GridDecoding` describes: each decodes what its published code decodes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vedette.compress.goal import goal_reader
from vedette.compress.goal.goal_tables import BoxesTable, ModelTable
from vedette.compress.graph.importers.detector_import import load_imported_detector
from vedette.runtime.bundle.manifest import ModelOutput
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.heads.detect import DetectHead

MIDDLE = 128.0  # one mean for all channels is exact at the edges of an image too
SIDE, CLASSES = 80, 3  # the coarsest level of 64 pixels per cell has 2 x 2 cells, which reach beyond the image


class Published(nn.Module):
    """The last layers of a family and its decoder, behind random convolutions: corners in pixels, then scores."""

    def __init__(self, family: str, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.family, self.strides = family, strides
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))
        self.next = nn.ModuleList([nn.Conv2d(16, 16, 3, 2, 1) for _ in strides[1:]])
        self.sides = 32 if family in ("nanodet-plus", "picodet") else 4
        if family == "nanodet-plus":
            self.heads = nn.ModuleList([nn.Conv2d(16, CLASSES + self.sides, 1) for _ in strides])
        else:
            self.scores = nn.ModuleList([nn.Conv2d(16, CLASSES, 1) for _ in strides])
            self.boxes = nn.ModuleList([nn.Conv2d(16, self.sides, 1) for _ in strides])
            self.objects = nn.ModuleList([nn.Conv2d(16, 1, 1) for _ in strides])

    def forward(self, image: Tensor) -> Tensor:
        maps = [self.first(image)]
        for each in self.next:
            maps.append(each(maps[-1].relu()))
        return torch.cat([self.decode(number, x) for number, x in enumerate(maps)], 2)

    def decode(self, number: int, x: Tensor) -> Tensor:
        """One level, 4 + classes x cells."""
        stride, rows, columns = self.strides[number], x.shape[2], x.shape[3]
        if self.family == "nanodet-plus":
            score, box = self.heads[number](x).split((CLASSES, self.sides), 1)
        else:
            score, box = self.scores[number](x), self.boxes[number](x)
        sure = self.objects[number](x).flatten(2)[0].sigmoid() if self.family == "centers" else None
        if self.family in ("rtmdet", "exponential"):  # RTMDetSepBNHead.forward: exp_on_reg or not, times the stride
            box = (box.exp() if self.family == "exponential" else box) * stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        point = torch.stack([x.flatten(), y.flatten()]).float() * stride
        score, box = score.flatten(2)[0].sigmoid(), box.flatten(2)[0]
        if self.family == "picodet":
            point = point + 0.5 * stride
        if self.sides == 32:
            box = (box.reshape(4, 8, -1).softmax(1) * torch.arange(8.0).reshape(1, 8, 1)).sum(1) * stride
        if sure is not None:
            center, size = box[:2] * stride + point, box[2:].exp() * stride
            return torch.cat([center - size / 2, center + size / 2, score * sure])[None]
        return torch.cat([point - box[:2], point + box[2:], score])[None]


GENERIC = {
    "exponential": BoxesTable(form="distances", activation="exp", point=0.0, strides=(8, 16, 32, 64)),
    "centers": BoxesTable(("box", "class", "objectness"), form="center", strides=(8, 16, 32, 64)),
}


def spread(network: nn.Module) -> None:
    """Scores and boxes that differ between cells; many scores pass a threshold of 0.5."""
    for name, weight in network.named_parameters():
        if name.startswith(("heads", "scores", "boxes", "objects")):
            weight.data *= 4 if weight.ndim == 4 else 1
        if name.startswith(("scores", "objects")) and weight.ndim == 1:
            weight.data += 1


@pytest.mark.parametrize("family", ["nanodet-plus", "picodet", "rtmdet", "exponential", "centers"])
def test_boxes_are_those_of_the_published_decoder(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Published(family, (8, 16, 32) if family == "rtmdet" else (8, 16, 32, 64)).eval()
    spread(network)
    options: Any = {"dynamo": False, "opset_version": 17}
    torch.onnx.export(network, (torch.zeros(1, 3, SIDE, SIDE),), tmp_path / "net.onnx", **options)
    known: Any = "generic" if family in GENERIC else family
    table = ModelTable(onnx="net.onnx", family=known, boxes=GENERIC.get(family), mean=MIDDLE, std=MIDDLE)
    found = load_imported_detector(tmp_path, table)

    rgb = np.random.default_rng(1).integers(0, 256, (1, 3, SIDE, SIDE)).astype(np.float32)
    settings = found.input_spec
    session = onnxruntime.InferenceSession(found.model.SerializeToString())
    names = [each.name for each in session.get_outputs()]
    fed = ((rgb - settings.mean) / settings.std).astype(np.float32)
    made = dict(zip(names, session.run(names, {settings.name: fed}), strict=True))
    outputs = tuple(ModelOutput(name, values.shape, 1.0, 0) for name, values in made.items())
    manifest: Any = SimpleNamespace(
        outputs=outputs, input=settings, boxes=found.boxes, labels=found.labels, threshold=0.5
    )
    ours = DetectHead(manifest, 0.5).decoder(made, 0.5)

    with torch.no_grad():
        order = slice(None, None, -1 if family in ("nanodet-plus", "rtmdet") else 1)
        answer = network(torch.from_numpy((rgb[:, order] - MIDDLE) / np.float32(MIDDLE)))[0].numpy()
    theirs = set_of_boxes(answer[:4].T / SIDE, answer[4:].T, one_class=family == "centers")
    mine = np.c_[ours.classes, ours.scores, ours.edges]
    clear = [each[abs(each[:, 1] - 0.5) > 1e-3] for each in (mine, theirs)]  # rounding decides on the others
    assert len(clear[0]) == len(clear[1]) > 10
    first, second = (each[np.lexsort(each.round(3).T)] for each in clear)
    np.testing.assert_allclose(first, second, atol=1e-3)


def set_of_boxes(edges: NDArray[Any], scores: NDArray[Any], one_class: bool) -> NDArray[Any]:
    """Class, score and edges of all scores of at least 0.5; `one_class`: of each cell the highest alone."""
    passed = scores >= 0.5
    if one_class:
        passed &= np.arange(scores.shape[1]) == scores.argmax(axis=1, keepdims=True)
    cells, classes = np.nonzero(passed)
    return np.c_[classes, scores[cells, classes], edges[cells]]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('family = "generic"', "\\[model.boxes\\] is missing"),
        ('family = "yolox"\n[model.boxes]\nform = "center"', "does not apply to yolox"),
        ('family = "generic"\n[model.boxes]\noutputs = ["box"]', "does not name box and class"),
        ('family = "generic"\n[model.boxes]\nform = "center"\nunit = "pixels"', "model.boxes.unit does not apply"),
    ],
)
def test_a_wrong_description_is_an_error(keys: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "labels").mkdir()
    data = '[data]\nimages = "images"\nlabels = "labels"\n'
    (tmp_path / "goal.toml").write_text(f'name = "n"\ntask = "detect"\n{data}[model]\nonnx = "net.onnx"\n{keys}\n')
    with pytest.raises(ConfigProblem, match=message):
        goal_reader.read_goal(tmp_path / "goal.toml")

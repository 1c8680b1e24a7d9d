"""A made-up product for detectors: pictures of red and green squares, their labels, and a network that finds them.

The network's weights are written down, not trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
LABELS = ("red", "green")

GOAL = """\
name = "squares"
task = "detect"
[data]
images = "images"
labels = "{labels}"
[goal]
min_map50 = 0.9
max_drop = 0.02
[model]
onnx = "net.onnx"
family = "yolox"
labels = "names.txt"
licence = "Apache-2.0"
{model}"""


def draw_squares(folder: Path, count: int, seed: int = 0) -> list[list[tuple[int, int, int]]]:
    """Pictures of 64 x 64 with red and green squares of 8 pixels; class, column and row of the squares in each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    told = []
    for number in range(count):
        picture = rng.integers(100, 130, (SIDE, SIDE, 3)).astype(np.uint8)
        cells = rng.choice(64, 3, replace=False)
        squares = [(int(rng.integers(2)), int(cell % 8), int(cell // 8)) for cell in cells]
        for kind, column, row in squares:
            picture[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = (20, 20, 230) if kind == 0 else (20, 230, 20)
        cv2.imwrite(str(folder / f"{number:02d}.png"), picture)
        told.append(squares)
    return told


def write_network(path: Path) -> None:
    """A YOLOX of one level and two classes: an eighth of the size, redness and greenness, and what follows from it."""
    look = np.zeros((4, 3, 8, 8), np.float32)  # of blue, green and red; gentle, for sums go through a SiLU
    look[0, 2], look[0, 1], look[1, 1], look[1, 2] = 1 / 64, -1 / 64, 1 / 64, -1 / 64
    look[2, 0], look[3, 1] = 0.01 / 64, 0.01 / 64
    mixed = {
        "box": ([[0.001, 0, 0.01, 0], [0, 0.001, 0, 0.01], [0, 0, 0.001, 0], [0, 0, 0, 0.001]], [0.5, 0.5, 0, 0]),
        "objectness": ([[0.1, 0.1, 0, 0]], [-8.0]),
        "class": ([[0.06, -0.06, 0, 0], [-0.06, 0.06, 0, 0]], [0.0, 0.0]),
    }
    nodes = [
        helper.make_node("Conv", ["images", "look", "level"], ["seen"], name="look", strides=[8, 8]),
        helper.make_node("Sigmoid", ["seen"], ["gate"], name="gate"),
        helper.make_node("Mul", ["seen", "gate"], ["known"], name="silu"),
    ]
    constants = {"look": look, "level": np.zeros(4), "shape": np.array([1, 7, 64])}
    for name, (weight, bias) in mixed.items():
        constants |= {f"{name}.w": np.array(weight)[..., None, None], f"{name}.b": np.array(bias)}
        nodes.append(helper.make_node("Conv", ["known", f"{name}.w", f"{name}.b"], [name], name=name))
    nodes += [
        helper.make_node("Sigmoid", ["objectness"], ["o"], name="o"),
        helper.make_node("Sigmoid", ["class"], ["c"], name="c"),
        helper.make_node("Concat", ["box", "o", "c"], ["joined"], name="join", axis=1),
        helper.make_node("Reshape", ["joined", "shape"], ["flat"], name="flat"),
        helper.make_node("Transpose", ["flat"], ["output"], name="turn", perm=[0, 2, 1]),
    ]
    tensors = [
        numpy_helper.from_array(np.asarray(each, np.int64 if name == "shape" else np.float32), name)
        for name, each in constants.items()
    ]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    end = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 64, 7])
    graph = helper.make_graph(nodes, "g", [image], [end], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), path)


def write_detection_images(folder: Path) -> None:
    """Pictures, labels as YOLO and as COCO have them, the network and a goal file."""
    told = draw_squares(folder / "images", 24)
    (folder / "labels").mkdir()
    content: dict[str, list[Any]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 7, "name": "green"}, {"id": 3, "name": "red"}],
    }
    for number, objects in enumerate(told):
        lines = [f"{kind} {(column + 0.5) / 8} {(row + 0.5) / 8} 0.125 0.125" for kind, column, row in objects]
        (folder / "labels" / f"{number:02d}.txt").write_text("\n".join(lines) + "\n")
        content["images"].append({"id": number, "file_name": f"{number:02d}.png", "width": SIDE, "height": SIDE})
        for kind, column, row in objects:
            mark = {"image_id": number, "category_id": (3, 7)[kind], "bbox": [column * 8, row * 8, 8, 8], "iscrowd": 0}
            content["annotations"].append(mark)
    (folder / "coco.json").write_text(json.dumps(content))
    (folder / "names.txt").write_text("red\ngreen\n")
    write_network(folder / "net.onnx")
    (folder / "goal.toml").write_text(GOAL.format(labels="labels", model=""))

"""Codes in the picture of a part: drawn by zxing-cpp, turned, tilted, blurred and noisy, and read again."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import zxingcpp
from one_product import one_product

from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.configuration import load_config
from vedette.runtime.config.product_table import NO_PRODUCT, find_product
from vedette.runtime.config.trigger_table import CodeSettings
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.line.code_reader import CodeReader
from vedette.runtime.line.judgement import Judge
from vedette.runtime.line.line_products import LineProduct
from vedette.runtime.line.part_gate import PartGate

FORMATS = ("DataMatrix", "QRCode", "Code128")


def draw_code(text: str, name: str = "DataMatrix", turn: float = 0.0, size=(640, 480), seed: int = 0):
    """A picture of a gray part with a code at its middle: turned, seen at an angle, out of focus and noisy."""
    code = zxingcpp.create_barcode(text, zxingcpp.barcode_format_from_str(name))
    symbol = np.array(zxingcpp.write_barcode_to_image(code, scale=3 if name == "Code128" else 5))
    picture = np.full((size[1], size[0]), 150, np.uint8)
    height, width = symbol.shape[:2]
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    picture[top : top + height, left : left + width] = 30 + symbol // 2
    turning = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), turn, 1.0)
    picture = cv2.warpAffine(picture, turning, size, borderValue=150)
    corners = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    tilted = corners + np.array([[10, 6], [-4, 0], [0, -8], [4, 0]], np.float32)
    picture = cv2.warpPerspective(picture, cv2.getPerspectiveTransform(corners, tilted), size, borderValue=150)
    noise = np.random.default_rng(seed).normal(0, 5, picture.shape)
    blurred = cv2.GaussianBlur(picture, (0, 0), 1.0) + noise
    return np.repeat(np.clip(blurred, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("name", FORMATS)
def test_codes_are_read(name):
    reader = CodeReader(CodeSettings(formats=(name,)))
    slanted = 10.0 if name == "Code128" else 37.0  # a bar code must lie almost straight
    for seed, turn in enumerate((0.0, slanted, 180.0)):
        assert reader.read(draw_code(f"SN-{seed:05d}", name, turn, seed=seed)) == f"SN-{seed:05d}"


def test_only_the_area_and_the_formats_count():
    picture = draw_code("SN-1")
    assert CodeReader(CodeSettings(area=(0.3, 0.3, 0.7, 0.7))).read(picture) == "SN-1"
    assert CodeReader(CodeSettings(area=(0.0, 0.0, 0.3, 1.0))).read(picture) == ""
    assert CodeReader(CodeSettings(formats=("QRCode",))).read(picture) == ""


def test_several_codes_that_differ_are_none():
    both = np.hstack([draw_code("A", size=(320, 320)), draw_code("B", size=(320, 320))])
    assert CodeReader(CodeSettings()).read(both) == ""
    same = np.hstack([draw_code("A", size=(320, 320)), draw_code("A", size=(320, 320))])
    assert CodeReader(CodeSettings()).read(same) == "A"


def configure(folder, trigger, code="[trigger.code]", bundle='bundle = "x.vedette"'):
    (folder / "cameras").mkdir(exist_ok=True)
    (folder / "vedette.toml").write_text("")
    (folder / "cameras" / "triggers.txt").write_text("")
    (folder / "cameras" / "door.toml").write_text(
        f'source = "file:parts"\n{bundle}\n[trigger]\nsource = "file:triggers.txt"\ndeadline = 60.0\n'
        f"{trigger}\n{code}\n"
    )
    return load_config(folder, "door")


@pytest.fixture
def inspect(tmp_path):
    """Inspects one part with so many pictures; gives its verdict, reason and serial number."""

    def run(pictures, serial="", code="[trigger.code]", score=0.5):
        settings = configure(tmp_path, f"pictures = {len(pictures)}", code)
        outbox = Outbox.from_config(settings)
        gate = PartGate(settings, one_product(settings), outbox, lambda: None, live=False)
        gate.line.recorder.start()
        recorded = []
        gate.line.recorder.record = lambda _number, verdict, *_: recorded.append(verdict)
        number = gate.line.trigger(serial)
        for each, pixels in enumerate(pictures):
            gate.claimed = number
            assert gate.is_open(Frame("door", each, float(each), pixels))
            gate.remember((Prediction("anomaly", score),))
        gate.close()
        outbox.close()
        (verdict,) = recorded
        return verdict.verdict, verdict.reason, verdict.serial

    return run


BLANK = np.full((480, 640, 3), 150, np.uint8)
ERROR = '[trigger.code]\nmissing = "error"'


def test_code_is_the_serial_number(inspect):
    assert inspect([draw_code("SN-7")]) == ("accept", "", "SN-7")
    assert inspect([draw_code("SN-7")], serial="SN-7") == ("accept", "", "SN-7")
    assert inspect([draw_code("SN-7")], score=2.0) == ("reject", "", "SN-7")


def test_another_code_than_the_line_has_told_is_an_error(inspect):
    assert inspect([draw_code("SN-7")], serial="SN-8") == ("error", "code_differs", "SN-8")


def test_part_without_a_code(inspect):
    assert inspect([BLANK]) == ("accept", "", "")
    assert inspect([BLANK], code=ERROR) == ("error", "no_code", "")
    assert inspect([BLANK], code=ERROR, score=2.0) == ("reject", "", ""), "it is out in any case"
    assert inspect([BLANK, draw_code("SN-9")], code=ERROR) == ("accept", "", "SN-9"), "one picture is enough"
    assert inspect([draw_code("SN-9"), draw_code("SN-8")]) == ("error", "code_differs", "SN-9")


PRODUCTS = """[trigger.code]
[[products]]
name = "left"
index = 3
bundle = "left.vedette"
codes = ["L-*"]
[[products]]
name = "right"
index = 4
bundle = "right.vedette"
codes = ["R-*", "X-1"]
"""


def test_code_selects_the_product(tmp_path, wait_until):
    """Left parts are rejected from a score of 1 on, right ones from 3; no code, or an unknown one, is no product."""
    settings = configure(tmp_path, "", PRODUCTS, bundle="")
    outbox, selected, recorded = Outbox.from_config(settings), [], []
    gate = PartGate(settings, two_products(settings, selected.append), outbox, lambda: None, live=False)
    gate.line.recorder.record = lambda _number, verdict, *_: recorded.append(verdict)
    gate.line.start()
    inferred = []
    for each, code in enumerate(["L-7", "R-8", "Z-9", "X-1", "", "L-2"]):
        gate.claimed = gate.line.trigger()
        if gate.is_open(Frame("door", each, float(each), draw_code(code) if code else BLANK)):
            inferred.append(code)
            gate.remember((Prediction("anomaly", 2.0),))
    wait_until(lambda: len(recorded) == 6, "a verdict for each part")
    gate.close()
    outbox.close()
    assert [(each.verdict, each.reason, each.product) for each in recorded] == [
        ("reject", "", "left"),
        ("accept", "", "right"),
        ("error", "unknown_product", "none"),
        ("accept", "", "right"),
        ("error", "no_code", "left"),
        ("reject", "", "left"),
    ]
    assert inferred == ["L-7", "R-8", "X-1", "L-2"]
    assert selected == [3, 4, 4, 3]


def two_products(settings, select):
    products = []
    for table, threshold in zip(settings.products, (1.0, 3.0), strict=True):
        manifest = SimpleNamespace(normal=("good",), decision_threshold=threshold, motion=None, name="x")
        judge = Judge(settings.trigger, manifest)
        products.append(LineProduct(table.settings.index, table.settings.name, "1", judge))
    return SimpleNamespace(products=products, select=select)


@pytest.mark.parametrize(
    ("code", "index"), [("L-1", 3), ("R-1", 4), ("X-1", 4), ("X-12", NO_PRODUCT), ("l-1", NO_PRODUCT), ("", NO_PRODUCT)]
)
def test_product_of_a_code(tmp_path, code, index):
    tables = [each.settings for each in configure(tmp_path, "", PRODUCTS, bundle="").products]
    assert find_product(tables, code) == index


def test_products_by_code_need_the_table_and_no_golden_parts(tmp_path):
    with pytest.raises(ConfigProblem, match=r"codes need the table \[trigger\.code\]"):
        configure(tmp_path, "", PRODUCTS.replace("[trigger.code]", ""), bundle="")
    with pytest.raises(ConfigProblem, match="golden_parts"):
        configure(tmp_path, "", PRODUCTS + '[golden_parts]\ngood = ["G-1"]\nbad = ["B-1"]\n', bundle="")


@pytest.mark.parametrize(
    ("code", "problem"),
    [("area = [0.5, 0, 0.5, 1]", "in this order"), ('formats = ["Morse"]', "unknown in Morse"), ("aera = 1", "aera")],
)
def test_wrong_tables_are_told(tmp_path, code, problem):
    with pytest.raises(ConfigProblem, match=problem):
        CodeReader(configure(tmp_path, "", f"[trigger.code]\n{code}").trigger.code)

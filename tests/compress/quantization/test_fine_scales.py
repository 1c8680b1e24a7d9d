"""An output that calibration leaves almost constant gets a scale that LiteRT takes, and other outputs keep theirs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vedette.compress.export.tflite import write_tflite
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.quantization.quantize import quantize
from vedette.compress.quantization.scales.fine_scales import widen_fine_ranges
from vedette.runtime.bundle.manifest import ModelInput

SPEC = ModelInput("image", width=8, height=8, mean=127.0, std=128.0, scale=1 / 128, zero_point=127)


def difference_model() -> onnx.ModelProto:
    """A network that gives the difference of two channels, which is 0 for gray images."""
    weight = numpy_helper.from_array(np.array([[1, -1, 0], [0, 1, -1]], np.float32)[..., None, None], "weight")
    conv = helper.make_node("Conv", ["image", "weight"], ["difference"], name="conv", kernel_shape=[1, 1])
    copied = helper.make_node("Transpose", ["difference"], ["turned"], name="turn", perm=[0, 1, 3, 2])
    ends = (("image", 3), ("turned", 2))
    image, turned = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, count, 8, 8)) for name, count in ends)
    graph = helper.make_graph([conv, copied], "difference", [image], [turned], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_output_that_is_constant_on_calibration_images_still_shows_others():
    from ai_edge_litert.interpreter import Interpreter

    calibration = [np.full((1, 8, 8, 3), level, np.uint8) for level in (0, 90, 255)]
    int8_model = quantize(QuantizationSettings(), difference_model(), calibration, SPEC)
    interpreter = Interpreter(model_content=write_tflite(int8_model))
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for blue in (99, 100, 101):
        image = np.full((1, 8, 8, 3), 100, np.int16)
        image[..., 2] = blue
        interpreter.set_tensor(source["index"], (image - 128).astype(np.int8))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target["index"]).astype(int).ravel()[-1])
    assert len(set(answers)) == 3, answers


@pytest.mark.parametrize(("limit", "is_widened"), [(1.0, False), (0.001, False), (0.0001, True)])
def test_only_ranges_too_fine_are_widened(limit, is_widened):
    ranges = {"image": (-1.0, 1.0), "difference": (-limit, limit), "turned": (-limit, limit)}
    widened = widen_fine_ranges(difference_model(), ranges)
    assert set(widened) == ({"difference", "turned"} if is_widened else set())
    if is_widened:
        assert widened["difference"] == widened["turned"] == pytest.approx((-1 / 127, 1 / 127))

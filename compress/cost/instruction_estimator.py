"""Cost of ONNX graphs on a device in one unit, so that graphs can be compared."""

from __future__ import annotations

import onnx

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ONNX

from . import cost_limits, device_costs, operator_counts


class InstructionEstimator:
    """Predicts the cost of graphs on a device: instructions of one image on one thread, or multiply-accumulates.

    Args:
        original: the float graph at its own size; without a prediction for it, all costs are multiply-accumulates
        device: the target device
    """

    def __init__(self, original: onnx.ModelProto, device: DeviceProfile) -> None:
        self.device = device
        instructions = self._predict_instructions(original, (ONNX,))
        self.unit = cost_limits.MULTIPLICATIONS if instructions is None else cost_limits.cost_unit(device)
        self.original_cost = float(operator_counts.count_macs(original)) if instructions is None else instructions
        """Baseline of a speed-up: the float graph in ONNX Runtime."""

    def estimate_cost(self, graph: onnx.ModelProto) -> float:
        """The cost of an int8 graph, in the back end that needs less."""
        if self.unit == cost_limits.MULTIPLICATIONS:
            return float(operator_counts.count_macs(graph))
        instructions = self._predict_instructions(graph, device_costs.BACKENDS)
        return float(operator_counts.count_macs(graph)) if instructions is None else instructions

    def _predict_instructions(self, graph: onnx.ModelProto, backends: tuple[str, ...]) -> float | None:
        predictions = [operator_counts.predict_cost(self.device, graph, backend) for backend in backends]
        known = [each.instructions for each in predictions if each is not None and each.instructions is not None]
        return min(known, default=None)

"""Profile of a device: its processor, the cost models of its back ends, and what was measured on it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .cost_model import CostModel, CostOrigin, CostPrediction, InstructionsPerSecond, OperatorCount


class EnergyResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Energy of one bundle in one back end by `vedette bench --power-meter`, against the same machine at rest."""

    meter: str
    """What was read, for example `rapl: package-0`."""
    minutes: float
    """Length of the whole measurement, with the periods at rest and those of other back ends."""
    fps: float
    """Median frames a second under load."""
    idle_watts: float
    load_watts: float
    """Medians over the periods at rest and over the periods under load."""
    joules_per_frame: float
    """Median over the rounds of (watts under load - watts at rest) / frames a second."""
    joules_lowest: float
    joules_highest: float
    """The same, of the lowest and of the highest round."""
    late_slowdown: float
    """Frames a second of the first round, divided by those of the last: above 1 if the machine became slower."""
    temperature: float | None = None
    """Highest temperature seen, degrees Celsius; None: unknown."""
    flags: tuple[str, ...] | None = None
    """The firmware's flags that were set at any time: `undervoltage`, `frequency_capped`, `throttled`, `hot`."""


class SustainedResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Latency of one bundle in one back end by `vedette bench --minutes`, preprocessing included."""

    minutes: float
    """Length of the whole run, with the periods of other back ends."""
    frames: int
    fps: float
    """Frames a second, the pauses of a held frame rate included."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    late_slowdown: float
    """Median latency of the last period, divided by that of the first: above 1 if the machine became slower."""
    temperature: float | None = None
    """Highest temperature seen, degrees Celsius; None: unknown."""
    flags: tuple[str, ...] | None = None
    """The firmware's flags that were set at any time: `undervoltage`, `frequency_capped`, `throttled`, `hot`."""


class BenchmarkResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Measurement of one bundle in one back end by `vedette bench`. Times are per frame."""

    model: str
    """Model id of the bundle."""
    backend: str
    version: str
    """Name and version of the library."""
    threads: int
    frame: tuple[int, int]
    """Width and height of the camera frame, in pixels."""
    ms: float
    """Median, including preprocessing."""
    p95_ms: float
    """95th percentile, including preprocessing."""
    p90_ms: float | None = None
    """90th percentile, including preprocessing; None in profiles of older versions."""
    p99_ms: float | None = None
    """99th percentile, including preprocessing; None in profiles of older versions."""
    model_ms: float
    """Median of the model alone."""
    cpu_seconds: float
    """CPU time of one frame over all cores, including preprocessing; a proxy for energy."""
    peak_rss_mb: float
    """Peak resident memory of a process that runs only this model."""
    startup_seconds: float
    """Time from the start of that process to its first result."""
    ms_per_million_macs: float | None = None
    """Milliseconds of the model alone; None if the bundle does not state its multiply-accumulates."""
    ms_per_million_instructions: float | None = None
    """Milliseconds of the model alone per million predicted instructions; None without a cost model for this core."""
    energy: EnergyResult | None = None
    """None: no power meter was named."""
    sustained: SustainedResult | None = None
    """None: no sustained run was asked for."""


class DeviceProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a kind of machine. No value is a guess: each profile file names its source."""

    name: str
    title: str
    """Name that the maker uses."""
    cpu: str
    """Core type, for example "Cortex-A72"."""
    cores: int
    architecture: str
    """As `uname -m` prints it."""
    memory_mb: int
    """Memory of the smallest model on sale, or of this machine."""
    features: tuple[str, ...] = ()
    """CPU features for integer arithmetic: `asimddp` (Arm dot product), `avx512_vnni`, `avx_vnni`, …"""
    source: str = ""
    """Source of the facts."""
    clock_mhz: int | None = None
    """Highest clock rate that the maker specifies, unless `source` says otherwise."""
    speed: InstructionsPerSecond | None = None
    """Instructions per second; None if unknown, and then no milliseconds are predicted."""
    costs: dict[str, CostModel] = {}
    """Back end -> its cost model, on one thread."""

    measured: tuple[BenchmarkResult, ...] = ()
    """Results of `vedette bench` on the device; empty in the profiles that ship."""
    skipped: dict[str, str] = {}
    """Back ends that `vedette bench` did not measure, with the reason."""

    def predict_cost(self, backend: str, operators: Sequence[OperatorCount], model: str = "") -> CostPrediction | None:
        """The cost of one inference; None if the profile knows neither the back end nor the operator classes.

        Uses the best source available: a measurement of this model, then a measurement of another model scaled to this
        one, then operator counts.

        Args:
            backend: `onnx` or `tflite`
            operators: the operators of the model
            model: model id of the bundle, if it has one
        """
        counted = self._predict_from_counts(backend, operators)
        measured = next((result for result in self.measured if result.backend == backend), None)
        if measured is None or any(operator.macs and operator.precision != "int8" for operator in operators):
            return counted
        instructions = (
            (counted.instructions, counted.instructions_low, counted.instructions_high) if counted else (None,) * 3
        )
        if measured.model == model:
            return CostPrediction(*instructions, "measured there", measured.ms, measured.ms, measured.p95_ms)
        preprocessing, tail_ratio = measured.ms - measured.model_ms, measured.p95_ms / measured.ms
        if measured.ms_per_million_instructions is not None and counted is not None:
            rate = measured.ms_per_million_instructions
            times = [preprocessing + (count or 0.0) / 1e6 * rate for count in instructions]
        elif measured.ms_per_million_macs is not None:
            macs = sum(operator.macs for operator in operators)
            times = [preprocessing + macs / 1e6 * measured.ms_per_million_macs] * 3
        else:
            return counted
        origin: CostOrigin = "predicted from a measurement there"
        return CostPrediction(*instructions, origin, times[0], times[1], times[2] * tail_ratio)

    def _predict_from_counts(self, backend: str, operators: Sequence[OperatorCount]) -> CostPrediction | None:
        if backend not in self.costs:
            return None
        model = self.costs[backend]
        try:
            count, error = model.predict_instructions(operators), model.relative_error(operators)
        except KeyError:
            return None
        low, high = count / (1 + error), count / (1 - error)
        if self.speed is None:
            return CostPrediction(count, low, high, "predicted from counts")
        ms = count / self.speed.typical / 1e3, low / self.speed.high / 1e3, high / self.speed.low / 1e3
        return CostPrediction(count, low, high, "predicted from counts", *ms)

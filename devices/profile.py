"""A kind of machine, as written down in `profiles/NAME.toml`.

`host` has no file: it is whatever machine asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec

from .cost_model import CostModel, Prediction, Speed, Work
from .measured import Measured


class DeviceProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a kind of machine; none of them is a guess, and each file names its source."""

    name: str
    title: str
    """As its maker calls it."""
    cpu: str
    """Core type, as in "Cortex-A72"."""
    cores: int
    architecture: str
    """As `uname -m` says it."""
    memory_mb: int
    """The smallest that is sold, or what this machine has."""
    features: tuple[str, ...] = ()
    """Instructions that matter for integer arithmetic: `asimddp` (Arm dot product), `avx512_vnni`, `avx_vnni`, …"""
    source: str = ""
    """Where the facts were read."""
    clock_mhz: int | None = None
    """The highest that the maker promises, unless `source` says otherwise."""
    speed: Speed | None = None
    """None: nothing is known of how fast it finishes instructions, so there are no milliseconds."""
    costs: dict[str, CostModel] = {}
    """Back end -> what models cost in it, on one thread."""

    measured: tuple[Measured, ...] = ()
    """What `vedette bench` measured there; empty in the profiles that ship."""

    def predict(self, backend: str, works: Sequence[Work], model: str = "") -> Prediction | None:
        """What one inference that is this work costs; None where the profile does not know its back end or kind.

        The best that is known: what was measured of the very model, what follows from another's measurement, counts.

        Args:
            backend: `onnx` or `tflite`
            works: of each operator
            model: the bundle's model id, where it has one
        """
        count = self._counted(backend, works)
        found = next((each for each in self.measured if each.backend == backend), None)
        if found is None or any(work.macs and work.precision != "int8" for work in works):
            return count
        known = (count.instructions, count.instructions_low, count.instructions_high) if count else (None,) * 3
        if found.model == model:
            return Prediction(*known, "measured there", found.ms, found.ms, found.p95_ms)
        before, slow = found.ms - found.model_ms, found.p95_ms / found.ms
        if found.ms_per_million_instructions is not None and count is not None:
            times = [before + (amount or 0.0) / 1e6 * found.ms_per_million_instructions for amount in known]
        elif found.ms_per_million_macs is not None:
            times = [before + sum(work.macs for work in works) / 1e6 * found.ms_per_million_macs] * 3
        else:
            return count
        return Prediction(*known, "predicted from a measurement there", times[0], times[1], times[2] * slow)

    def _counted(self, backend: str, works: Sequence[Work]) -> Prediction | None:
        if backend not in self.costs:
            return None
        model = self.costs[backend]
        try:
            count, spread = model.instructions(works), model.spread(works)
        except KeyError:
            return None
        low, high = count / (1 + spread), count / (1 - spread)
        if self.speed is None:
            return Prediction(count, low, high, "predicted from counts")
        ms = count / self.speed.typical / 1e3, low / self.speed.high / 1e3, high / self.speed.low / 1e3
        return Prediction(count, low, high, "predicted from counts", *ms)


def names() -> list[str]:
    """Every profile that a goal file may name."""
    stems = [entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml")]
    return ["host", *sorted(stems)]


def load(name: str) -> DeviceProfile:
    """The profile called `name`.

    Raises:
        KeyError: there is none of that name; `names` lists them.
    """
    if name == "host":
        from .host import this_machine

        return this_machine()
    if name not in names():
        raise KeyError(name)
    text = (_folder() / f"{name}.toml").read_bytes()
    return msgspec.toml.decode(text, type=DeviceProfile)


def decode(text: bytes) -> DeviceProfile:
    """A measured profile, JSON as `vedette bench --json` prints it.

    Raises:
        msgspec.MsgspecError: it is none; the message says why.
    """
    return msgspec.json.decode(text, type=DeviceProfile)


def closest(machine: DeviceProfile) -> DeviceProfile | None:
    """The named profile that this machine is an instance of: as many cores of the same type; None where none fits.

    A Pi 3 and a Zero 2 W differ in nothing else than memory, so the nearer one in memory wins.
    """
    kind = (machine.cpu, machine.cores, machine.architecture)
    same = [p for p in map(load, names()[1:]) if (p.cpu, p.cores, p.architecture) == kind]
    return min(same, key=lambda p: abs(p.memory_mb - machine.memory_mb), default=None)


def _folder() -> Any:  # importlib's Traversable moved between Python 3.11 and 3.13
    return files(__package__) / "profiles"

"""Facts about machines: what a Pi 4 is, what this machine is, what either can run."""

from .cost_model import CostModel, Prediction, Work
from .host import this_machine
from .measured import Measured
from .profile import DeviceProfile, closest, decode, load, names

__all__ = [
    "CostModel",
    "DeviceProfile",
    "Measured",
    "Prediction",
    "Work",
    "closest",
    "decode",
    "load",
    "names",
    "this_machine",
]

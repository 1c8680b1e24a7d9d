"""Facts about machines: what a Pi 4 is, what this machine is, what either can run."""

from .cost import CostModel, Prediction, Work
from .host import this_machine
from .profile import DeviceProfile, closest, load, names

__all__ = ["CostModel", "DeviceProfile", "Prediction", "Work", "closest", "load", "names", "this_machine"]

"""Facts about machines: what a Pi 4 is, what this machine is, what either can run."""

from .host import this_machine
from .profile import DeviceProfile, closest, load, names

__all__ = ["DeviceProfile", "closest", "load", "names", "this_machine"]

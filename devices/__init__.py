"""Device profiles: facts about machines, cost models of their back ends, and predictions of inference cost."""

from .catalog import decode_benchmark_profile, find_matching_profile, load_profile, profile_names
from .cost_model import CostPrediction
from .host import read_host_profile
from .profile import BenchmarkResult, DeviceProfile, EnergyResult, SustainedResult

__all__ = [
    "BenchmarkResult",
    "CostPrediction",
    "DeviceProfile",
    "EnergyResult",
    "SustainedResult",
    "decode_benchmark_profile",
    "find_matching_profile",
    "load_profile",
    "profile_names",
    "read_host_profile",
]

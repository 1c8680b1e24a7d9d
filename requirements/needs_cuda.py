"""Exits 1 if the PyTorch of this environment needs the libraries of requirements/cuda.txt."""

import sys
from importlib.metadata import requires, version

needs = any(each.startswith("nvidia-") or each.startswith("cuda-") for each in requires("torch") or ())
sys.exit(1 if needs and "+cpu" not in version("torch") and sys.platform == "linux" else 0)

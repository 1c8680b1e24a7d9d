"""Exits 1 if the PyTorch of this environment needs the libraries of requirements/cuda.txt."""

import sys
from importlib.metadata import requires

needed = [each for each in requires("torch") or () if each.startswith(("nvidia-", "cuda-")) and "extra ==" not in each]
sys.exit(1 if needed and sys.platform == "linux" else 0)

"""Exits 1 if this environment needs PyTorch (`needs.py torch`) or its CUDA libraries (`needs.py cuda`)."""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path


def needs_torch() -> bool:
    """Whether PyTorch is missing or has another version than torch.txt; a local version (+cpu) is none of its own."""
    wanted = re.match(r"torch==([\d.]+)", (Path(__file__).parent / "torch.txt").read_text())
    try:
        return wanted is None or version("torch").partition("+")[0] != wanted[1]
    except PackageNotFoundError:
        return True


def needs_cuda() -> bool:
    """Whether the installed PyTorch asks for NVIDIA's libraries."""
    asked = (each for each in requires("torch") or () if "extra ==" not in each)
    return sys.platform == "linux" and any(each.startswith(("nvidia-", "cuda-")) for each in asked)


sys.exit({"torch": needs_torch, "cuda": needs_cuda}[sys.argv[1]]())

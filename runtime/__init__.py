"""The device: frames in, events out.

Read `daemon.py` first; it is the product in one page. What it plugs together lies in the folders beside it: sources,
backends, heads, rules and sinks. Nothing here imports the workshop (`vedette.compress`), so a device never needs torch.
"""

import os

# ONNX Runtime's wheels report models and machines to their maker since 1.32 unless this is set before they are loaded.
# Nothing of ours leaves the box but events. The second name is that of later releases.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_TELEMETRY_DISABLED", "1")

"""The device: frames in, events out.

Read `daemon.py` first: it shows the whole product on one page. The packages beside it hold its parts. No module here
imports the workshop (`vedette.compress`), so a device never needs torch.
"""

import os

# Since 1.32, ONNX Runtime's wheels send telemetry about models and machines unless this is set before they are loaded.
# Only events may leave the device. Later releases use the second name.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_TELEMETRY_DISABLED", "1")
# OpenCV reads this when it is loaded, and refuses larger images by their header. A process that decodes what others
# made sets a lower limit.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 27))

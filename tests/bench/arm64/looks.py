"""What a look at a camera's picture costs on an emulated core (runtime/camera/health.py): make count-looks runs it.

As in inference.py, `os.getppid` marks the borders that the plugin counts between; the first look of each size, with
what is made once, comes before them. The project is found by its folder alone: of its dependencies only OpenCV, NumPy
and msgspec are there.
"""

import os
import sys
import types
from pathlib import Path

import cv2
import numpy as np

package = types.ModuleType("vedette")
package.__path__ = [str(Path(__file__).parents[3])]
sys.modules["vedette"] = package

from vedette.runtime.camera.frame import Frame  # noqa: E402
from vedette.runtime.camera.health import CameraHealth  # noqa: E402
from vedette.runtime.config.camera_tables import HealthSettings as Settings  # noqa: E402

WARM_UP, LOOKS = 35, 3  # what is relative needs thirty looks before it is judged
cv2.setNumThreads(1)
rng = np.random.default_rng(0)
for height, width in ((480, 640), (720, 1280), (1080, 1920)):
    pictures = [rng.integers(0, 255, (height, width, 3), dtype=np.uint8) for _ in range(4)]
    health = CameraHealth(Settings())
    os.write(2, f"picture {width} x {height}\n".encode())
    for second in range(WARM_UP + LOOKS):
        frame = Frame("camera", second, float(second), pictures[second % len(pictures)])
        list(health.update(frame, float(second)))
        if second >= WARM_UP - 1:
            os.getppid()

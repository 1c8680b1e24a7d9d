"""What aligning a part costs on an emulated core (runtime/inference/part_aligner.py): make count-alignment runs it.

As in looks.py, the first alignment of each kind, with what is made once, comes before the borders that the plugin
counts between, and of the project's dependencies only OpenCV, NumPy and msgspec are there. The image has the resolution
of the model's input.
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

from vedette.runtime.bundle.manifest import Alignment  # noqa: E402
from vedette.runtime.inference.part_aligner import PartAligner  # noqa: E402

SIDE = 224
KINDS = (("translation", 0, 0), ("rigid", 10, 0), ("rigid", 180, 0), ("similarity", 10, 0.1))

cv2.setNumThreads(1)
rng = np.random.default_rng(0)
reference = np.full((SIDE, SIDE, 3), 60, np.uint8)
cv2.rectangle(reference, (60, 50), (150, 120), (170, 160, 150), -1)
cv2.circle(reference, (90, 150), 30, (140, 150, 160), -1)
for motion, angle, scale in KINDS:
    aligner = PartAligner(Alignment(motion, "", 0.2, angle, scale, 0.4), reference)
    os.write(2, f"picture {motion} up to {angle} degrees\n".encode())
    for _ in range(3):
        turned = cv2.warpAffine(
            reference,
            cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), rng.uniform(-1, 1) * angle, 1 + rng.uniform(-1, 1) * scale),
            (SIDE, SIDE),
            borderMode=cv2.BORDER_REPLICATE,
        )
        image = np.roll(turned, rng.integers(-20, 20, 2), (0, 1))
        aligner.locate(image)
        os.getppid()

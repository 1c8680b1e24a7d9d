"""The workshop: images and a goal in, one signed bundle out.

Read `build.py` first; it is the product in one page. A detector (`detectors/`) is fitted to good images, techniques
(`techniques/`) make it small, `tflite/` writes the second file with the first one's integers, and what comes out is
measured with the runtime's own code, so that the figures are those of the device's program.
"""

import os

# Torch's threads spin while they wait for each other; where other work wants the cores too, small steps then take
# twenty times as long. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

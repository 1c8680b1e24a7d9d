"""The workshop: images and a goal in, one signed bundle out.

Read `build.py` first: it is the product on one page. `training/` fits a model of `models/`, `quantization/` makes it
int8, `export/` writes the TFLite file with the same integers as the ONNX file, and `evaluation/` measures all three
models with the code of the runtime, so that the figures are those of the device.
"""

import os

# Torch's threads spin while they wait for each other. If other processes need the cores too, small steps then take
# twenty times as long. Torch reads the variable when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

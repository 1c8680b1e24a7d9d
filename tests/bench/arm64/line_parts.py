"""What a part costs on an emulated core without its model (runtime/line): make count-line runs it.

From the trigger to the output: the trigger's record in the journal of parts, the search for the part of a picture, the
check for darkness, the judgement, the handshake, and the verdict's record. Then what another thread does later: the
event in the outbox, with the counters of parts. The adapter takes the outputs and does nothing, and evidence is off.

As in looks.py, `os.getppid` marks the borders, and the project is found by its folder alone. What runs in three threads
of the daemon runs in one here, so nothing waits for a lock.
"""

import os
import sys
import tempfile
import time
import types
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

package = types.ModuleType("vedette")
package.__path__ = [str(Path(__file__).parents[3])]
sys.modules["vedette"] = package

from vedette.runtime.camera.frame import Frame  # noqa: E402
from vedette.runtime.config.configuration import load_config  # noqa: E402
from vedette.runtime.events.outbox import Outbox  # noqa: E402
from vedette.runtime.events.part_counts import PartCounts  # noqa: E402
from vedette.runtime.inference.prediction import Box, Prediction  # noqa: E402
from vedette.runtime.line import inspection_line  # noqa: E402
from vedette.runtime.line.judgement import Judge  # noqa: E402
from vedette.runtime.line.line_products import LineProduct  # noqa: E402
from vedette.runtime.line.part_gate import PartGate  # noqa: E402

WARM_UP, PARTS = 20, 20
TOML = 'source = "v4l2:/dev/video0"\nbundle = "x.vedette"\n[trigger]\nsource = "mqtt:"\nhold = 0.001\nthreshold = 1.0\n'


class Outputs:
    """An adapter that counts what it is to show."""

    fault = ""
    shown = 0

    def start(self, line) -> None:
        """Listens to nobody."""

    def show(self, outputs) -> None:
        self.shown += 1

    def close(self) -> None:
        """Ends."""


def open_line(folder: Path):
    """The gate of a line whose threads do not run, and its outbox."""
    (folder / "cameras").mkdir()
    (folder / "vedette.toml").write_text('[device]\nstate = "state"\n[outbox]\nvolatile = true\n')
    (folder / "cameras" / "door.toml").write_text(TOML)
    settings = load_config(folder, "door")
    manifest = SimpleNamespace(name="x", release=1, normal=("good",), decision_threshold=1.0, motion=None)
    choice = SimpleNamespace(
        products=[LineProduct(0, "x", "1", Judge(settings.trigger, manifest))], select=lambda _index: None
    )
    inspection_line.load_adapter = lambda _settings: Outputs()
    outbox = Outbox.from_config(settings)
    PartCounts.from_config(settings, outbox)
    return PartGate(settings, choice, outbox, lambda: None, True), outbox


def pass_part(gate: PartGate, number: int, pixels, score: float) -> None:
    """A part from its trigger to its output."""
    gate.line.trigger(f"S-{number}")
    frame = Frame("door", number, time.time(), pixels, moment=time.monotonic())
    assert gate.is_open(frame)
    gate.remember((Prediction("anomaly", score, Box(0.1, 0.1, 0.3, 0.3), p_value=0.5, area="rim"),))


cv2.setNumThreads(1)
rng = np.random.default_rng(0)
with tempfile.TemporaryDirectory() as name:
    gate, outbox = open_line(Path(name))
    number = 0
    for height, width in ((480, 640), (1080, 1920)):
        pictures = [rng.integers(0, 255, (height, width, 3), dtype=np.uint8) for _ in range(4)]
        for title, score in (("accepted", 0.2), ("rejected", 2.0)):
            for part in range(WARM_UP + PARTS):
                if part >= WARM_UP:
                    os.write(2, f"part {title}, {width} x {height}\n".encode())
                    os.getppid()
                number += 1
                pass_part(gate, number, pictures[part % 4], score)
                if part >= WARM_UP:
                    os.getppid()
                stored, event = gate.line.recorder.pending.get(timeout=60)
                outbox.put(event)
                gate.line.recorder.journal.write_stored(stored)
                if part >= WARM_UP:
                    os.getppid()
                for _ in range(2):  # the result is taken off, and nothing is shown for a while
                    time.sleep(0.02)
                    with gate.line.changed:
                        gate.line.handshake.tick(time.monotonic())
                        gate.line._follow()
    assert gate.line.recorder.counts.accept == gate.line.recorder.counts.reject == 2 * (WARM_UP + PARTS)
    assert gate.line.adapter.shown >= number
    outbox.close()

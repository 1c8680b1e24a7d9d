"""A recording as the daemon saw it, for people to judge: an annotated video, and a sheet of moments.

    make bench-scene BENCH_ARGS="vtest.avi square --config DIR --out build/scene"

The camera's configuration is DIR/cameras/NAME.toml; its own source is not looked at. Boxes carry label, score and
track, zones and lines are drawn as the rules have them, and what a message says stands below for a second. It leaves
`annotated.mp4`, `sheet.jpg` with the moments of new events, and `scene.json`: frames, events by rule and kind, and
processor seconds of the daemon's part.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import cv2
import numpy as np

from vedette.runtime.camera.frame import Frame
from vedette.runtime.config import configuration
from vedette.runtime.config.configuration import Config
from vedette.runtime.daemon import Daemon
from vedette.runtime.evaluation.traffic import make_replay_settings
from vedette.runtime.events.event import Event
from vedette.runtime.inference.prediction import Prediction

COLOURS = [(66, 135, 245), (80, 200, 80), (60, 60, 230), (230, 160, 40), (200, 80, 200), (40, 200, 220)]
THUMBNAIL, COLUMNS = (320, 240), 5
MOST = 40  # moments on the sheet


class Eye:
    """Stands among the rules, and remembers what they were shown."""

    name, needs_tracks = "eye", False
    seen: tuple[Prediction, ...] = ()

    def observe(self, _frame: Frame, seen: tuple[Prediction, ...]) -> tuple[Event, ...]:
        self.seen = seen
        return ()

    def close(self) -> tuple[Event, ...]:
        return ()


class Shown(Daemon):
    """The daemon, with what it sees drawn on what it sees."""

    def __init__(self, settings: Config, out: Path) -> None:
        super().__init__(settings)
        self.out, self.captions, self.moments = out, [], []
        self.video: Any = None
        self.told: Counter[str] = Counter()
        self.fresh: list[Event] = []
        self.spent = 0.0
        self.eye = Eye()
        self.models.main.rules.rules.append(self.eye)

    def record(self, *events: Event) -> None:
        super().record(*events)
        self.fresh += events
        self.told.update(f"{event.rule}.{event.kind}" for event in events)

    def process_frame(self, frame: Frame) -> None:
        began = time.process_time()
        super().process_frame(frame)
        self.spent += time.process_time() - began
        picture = self.drawn(frame)
        if self.video is None:
            size = (picture.shape[1], picture.shape[0])
            self.video = cv2.VideoWriter(str(self.out / "annotated.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, size)
        self.video.write(picture)

    def drawn(self, frame: Frame) -> Any:
        picture = frame.pixels.copy()
        height, width = picture.shape[:2]
        for table in self.settings.rules:
            shapes = [table[key] for key in ("polygon", "line") if key in table] + list(table.get("zones", {}).values())
            for shape in shapes:
                corners = np.rint(np.array(shape) * (width, height)).astype(np.int32)
                cv2.polylines(picture, [corners], "polygon" in table or "zones" in table, (0, 220, 255), 1, cv2.LINE_AA)
        for each in self.eye.seen:
            if each.box is None:
                continue
            colour = COLOURS[(each.track or 0) % len(COLOURS)]
            left, right = int(each.box.left * width), int(each.box.right * width)
            top, bottom = int(each.box.top * height), int(each.box.bottom * height)
            cv2.rectangle(picture, (left, top), (right, bottom), colour, 2)
            text = f"{each.label} {each.score:.2f}" + (f" #{each.track}" if each.track else "")
            cv2.putText(picture, text, (left, max(top - 4, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
        for event in self.fresh:
            text = f"{event.rule} {event.kind}" + (f" #{event.track}" if event.track else "")
            self.captions.append((frame.taken + 1.0, text))
        self.captions = [(until, text) for until, text in self.captions if until > frame.taken]
        for row, (_, text) in enumerate(self.captions[-6:]):
            place = (8, height - 10 - 16 * row)
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 2, cv2.LINE_AA)
        if any(event.kind == "new" for event in self.fresh) and len(self.moments) < MOST:
            self.moments.append(cv2.resize(picture, THUMBNAIL, interpolation=cv2.INTER_AREA))
        self.fresh = []
        return picture


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, exists=True))
@click.argument("camera")
@click.option("--config", "folder", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/scene"), show_default=True)
def scene(recording: Path, camera: str, folder: Path, out: Path) -> None:
    """Draw what the daemon of CAMERA sees in RECORDING."""
    out.mkdir(parents=True, exist_ok=True)
    settings = configuration.load_config(folder, camera)
    with tempfile.TemporaryDirectory() as state:
        daemon = Shown(
            make_replay_settings(settings, f"file:{quote(str(recording.resolve()))}?fps=0", Path(state)), out
        )
        daemon.run()
    if daemon.video is not None:
        daemon.video.release()
    if moments := daemon.moments:
        moments += [np.zeros_like(moments[0])] * (-len(moments) % COLUMNS)
        rows = [np.hstack(moments[start : start + COLUMNS]) for start in range(0, len(moments), COLUMNS)]
        cv2.imwrite(str(out / "sheet.jpg"), np.vstack(rows))
    frames = daemon.health.counters.frames
    found = {"frames": frames, "events": dict(sorted(daemon.told.items())), "seconds": round(daemon.spent, 2)}
    found["frames_a_second"] = round(frames / daemon.spent, 1)
    (out / "scene.json").write_text(json.dumps(found, indent=2))
    click.echo(json.dumps(found, indent=2), err=True)


if __name__ == "__main__":
    scene()

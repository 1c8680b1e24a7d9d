"""What a frame costs in each rule on an emulated core (runtime/rules), and in the tracker: make count-rules runs it.

The scenes are those of rule_scenes.py, with 1, 5 and 20 people. Only `observe` of the rule lies between two borders, or
`update` of the tracker; the frames of `left_object` and `removed_object` have their real pixels. As in looks.py,
`os.getppid` marks the borders, and the project is found by its folder alone. Each case, or the start of it, runs once
before it is counted.
"""

import gc
import os
import sys
import types
from functools import cache, partial
from itertools import islice
from pathlib import Path

import cv2

package = types.ModuleType("vedette")
package.__path__ = [str(Path(__file__).parents[3])]
sys.modules["vedette"] = package
sys.path.append(str(Path(__file__).parents[2] / "support"))

from rule_scenes import BAG_SPANS, LEARN, RULE_SCENES, film  # noqa: E402
from scenes import CONTEXT, START  # noqa: E402

from vedette.runtime.config.tracker_table import TrackerSettings  # noqa: E402
from vedette.runtime.rules import load_rule  # noqa: E402
from vedette.runtime.tracking.tracker import Tracker  # noqa: E402

PEOPLE = (1, 5, 20)
SIZES = ((480, 640), (1080, 1920))


def count(title, call):
    os.write(2, f"frame {title}\n".encode())
    os.getppid()
    result = call()
    os.getppid()
    return result


def skip(_title, call):
    return call()


@cache
def track(people, kind):
    """The frames of a scene that is not drawn, with the tracked predictions. Its second run is counted."""
    for measure in (skip, count):
        tracker, tracked = Tracker(TrackerSettings(), CONTEXT.threshold), []
        tidy()
        for frame, seen in film(kind, people):
            title = f"tracker|{people}" if kind == "run" else f"tracker, falling|{people}"
            tracked.append((frame, measure(title, partial(tracker.update, frame, seen))))
    return tracked


def play(name, frames, title, measure):
    """Runs the rule over the frames; returns how many events it told."""
    rule = load_rule({"use": name, **RULE_SCENES[name][1]}, CONTEXT)
    told = 0
    tidy()
    for frame, predictions in frames:
        told += len(measure(title(frame), partial(rule.observe, frame, predictions)))
    return told


def tidy():
    """What exists now is not looked at by the collector of garbage again."""
    gc.collect()
    gc.freeze()


def name_case(name, people, size=None):
    """The title of a frame: the rule, for drawn frames with their size and whether it learns, and how many people."""

    def title(frame):
        if size is None:
            return f"{name}|{people}"
        learning = ", learning" if frame.taken - START <= LEARN else ""
        return f"{name} {size[1]} x {size[0]}{learning}|{people}"

    return title


def count_case(name, frames, people, size=None):
    told = play(name, frames, name_case(name, people, size), count)
    os.write(2, f"{name}, {people}: {told} events\n".encode())


cv2.setNumThreads(1)
for name in sys.argv[1:] or RULE_SCENES:
    kind = RULE_SCENES[name][0]
    if kind in BAG_SPANS:
        play(name, islice(film(kind, 1), 10), str, skip)
        for people, size in [*((each, SIZES[0]) for each in PEOPLE), (PEOPLE[1], SIZES[1])]:
            count_case(name, film(kind, people, size), people, size)
        continue
    for people in PEOPLE:
        frames = track(people, kind)
        play(name, frames, str, skip)
        count_case(name, frames, people)

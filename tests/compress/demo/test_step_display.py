"""The demonstration is never silent for long, and says at the start how long it takes."""

from __future__ import annotations

import io
import itertools
import re

import pytest

from vedette.compress.demo import step_display
from vedette.compress.demo.duration import describe_duration, estimate_range
from vedette.compress.demo.step_display import StepDisplay


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time that the display sees; add to `now`."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(step_display, "time", made)
    return made


def watch(display, clock, seconds):
    """Lets seconds pass, and the display refresh twice in each."""
    for _ in range(2 * seconds):
        clock.now += 0.5
        display.refresh()


def test_log_file_gets_lines_more_and_more_rarely(clock):
    stream = io.StringIO()
    display = StepDisplay(stream)
    display.log("training")
    watch(display, clock, 100)
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("training")
    times = [float(re.match(r"\[ *([\d.]+) s\]", line)[1]) for line in lines]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[:3] == [2.0, 4.0, 8.0]
    assert max(gaps) <= 30
    assert "training: 2 s so far" in lines[1]
    display.log("evaluating")
    watch(display, clock, 2)
    assert "evaluating: 2 s so far" in stream.getvalue().splitlines()[-1], "a new step is shown soon again"


def test_loop_shows_how_far_it_is(clock):
    stream = io.StringIO()
    display = StepDisplay(stream)
    display.log("building")
    taken = []
    for item in display.progress(range(10), "auditing"):
        taken.append(item)
        watch(display, clock, 3)
    assert taken == list(range(10))
    assert re.search(r"auditing: \d of 10, \d+ s so far", stream.getvalue())
    watch(display, clock, 40)
    assert "building: " in stream.getvalue().splitlines()[-1], "after the loop the step that it belongs to goes on"


def test_terminal_has_one_line_that_moves(clock):
    stream = Terminal()
    display = StepDisplay(stream)
    display.log("training")
    watch(display, clock, 10)
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("training: ") > 10


def test_fast_step_shows_nothing_more(clock):
    stream = io.StringIO()
    display = StepDisplay(stream)
    for number in range(5):
        display.log(f"step {number}")
        watch(display, clock, 1)
    assert len(stream.getvalue().splitlines()) == 5


def test_thread_ends_with_the_context():
    with StepDisplay(io.StringIO()) as display:
        display.log("x")
    assert not display.thread.is_alive()


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(100, 200, "about 2 to 4 minutes"), (20, 25, "about 1 minute"), (60, 150, "about 1 to 3 minutes")],
)
def test_duration_is_given_in_minutes(low, high, text):
    assert describe_duration(low, high) == text


def test_slower_machine_gets_a_longer_estimate():
    fast, slow = estimate_range(0.1), estimate_range(0.4)
    assert slow == pytest.approx(tuple(4 * each for each in fast))
    assert fast[0] < fast[1]

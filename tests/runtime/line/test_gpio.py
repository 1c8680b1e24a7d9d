"""Digital inputs and outputs, in front of a chip that is simulated at the boundary of libgpiod.

The kernel here has no gpio-sim, so no test shows libgpiod itself, nor the times of a real chip.
"""

from __future__ import annotations

import time

import gpiod
import pytest
from gpio_chip import SimulatedChip
from line_inputs import RecordedInputs
from one_product import one_product

from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.line.adapters import load_adapter
from vedette.runtime.line.adapters.encoder_distance import EncoderDistance
from vedette.runtime.line.handshake import Outputs
from vedette.runtime.line.inspection_line import InspectionLine
from vedette.runtime.line.judgement import Judgement

TRIGGER, ACKNOWLEDGE, READY, RESULTS, OK, NG, STROBE, ENCODER = 17, 27, 5, 6, 13, 19, 26, 22
LINES = "trigger=GPIO17&acknowledge=27&trigger_ready=5&results_ready=6&ok=13&ng=19"


def configure(folder, options=LINES, more="", chip="/dev/gpiochip0") -> Config:
    (folder / "cameras").mkdir(exist_ok=True)
    (folder / "vedette.toml").write_text("")
    (folder / "cameras" / "door.toml").write_text(
        f'source = "file:parts"\nbundle = "x.vedette"\n[trigger]\nsource = "gpio:{chip}?{options}"\n{more}\n'
    )
    return load_config(folder, "door")


@pytest.fixture
def chip(monkeypatch):
    chip = SimulatedChip()
    monkeypatch.setattr(gpiod, "Chip", chip.open)
    return chip


@pytest.fixture
def start(tmp_path, chip):
    adapters = []

    def begin(options=LINES, more=""):
        adapter, inputs = load_adapter(configure(tmp_path, options, more)), RecordedInputs()
        adapter.start(inputs)
        adapters.append(adapter)
        return adapter, inputs

    yield begin
    for adapter in adapters:
        adapter.close()


def test_rising_edges_are_triggers_with_the_kernels_time(chip, start, wait_until):
    chip.set(TRIGGER, True)  # from before: no trigger
    adapter, inputs = start()
    assert adapter.fault == ""
    assert inputs.signals == [("acknowledge", False)]
    chip.set(TRIGGER, False)
    before = time.monotonic()
    chip.pulse(TRIGGER)
    after = time.monotonic()
    chip.set(ACKNOWLEDGE, True)
    chip.set(ACKNOWLEDGE, False)
    wait_until(lambda: len(inputs.signals) == 4, "the signals")
    assert inputs.signals[1:] == [("trigger", ""), ("acknowledge", True), ("acknowledge", False)]
    assert before <= inputs.times[0] <= after


def test_debounce_bias_and_edges_are_the_kernels_work(chip, start):
    start(LINES + "&debounce=0.004&bias=pull-up&active_low=trigger,ok")
    inputs, outputs = (request.config for request in chip.requests)
    assert inputs[TRIGGER].debounce_period.total_seconds() == 0.004
    assert inputs[TRIGGER].active_low
    assert inputs[TRIGGER].bias is gpiod.line.Bias.PULL_UP
    assert not inputs[ACKNOWLEDGE].active_low
    assert outputs[OK].active_low
    assert chip.levels[OK], "off is high"


def test_inverted_trigger_is_the_falling_edge(chip, start, wait_until):
    chip.set(TRIGGER, True)
    _, inputs = start(LINES + "&active_low=trigger")
    chip.set(TRIGGER, False)
    chip.set(TRIGGER, True)
    chip.set(ACKNOWLEDGE, True)
    wait_until(lambda: inputs.signals[-1] == ("acknowledge", True), "the signals")
    assert inputs.signals == [("acknowledge", False), ("trigger", ""), ("acknowledge", True)]


def test_verdict_is_set_before_results_ready(chip, start, wait_until):
    adapter, _ = start()
    adapter.show(Outputs(trigger_ready=True, results_ready=True, ng=True, part=1))
    adapter.show(Outputs(trigger_ready=True))
    adapter.show(Outputs(trigger_ready=True, results_ready=True, ok=True, part=2))
    wait_until(lambda: chip.levels[OK] and chip.levels[RESULTS], "the second result")
    flat = [(line, level) for write in chip.writes[1:] for line, level in write.items()]
    seen: dict[int, bool] = dict.fromkeys((OK, NG, RESULTS), False)
    for line, level in flat:
        seen[line] = level
        assert seen[OK] + seen[NG] <= 1
        if line == RESULTS and level:
            assert seen[OK] + seen[NG] == 1, "results ready without a verdict"
    adapter.close()
    assert not any(chip.requests), "all lines were given back"


def test_lost_edges_are_parts_that_are_errors(chip, start, wait_until):
    adapter, inputs = start()
    adapter.lines.inputs.events = type(adapter.lines.inputs.events)(maxlen=3)
    chip.requests[0].read_edge_events, reading = (list), chip.requests[0].read_edge_events
    chip.pulse(TRIGGER, 5)
    chip.requests[0].read_edge_events = reading
    chip.set(ACKNOWLEDGE, True)
    wait_until(lambda: ("acknowledge", True) in inputs.signals, "the signals")
    names = [name for name, _ in inputs.signals]
    assert names.count("miss") == 3, "the oldest were lost"
    assert names.count("trigger") == 2


def test_chip_that_is_gone_is_told_and_comes_back(chip, start, wait_until):
    adapter, inputs = start()
    adapter.show(Outputs(trigger_ready=True))
    wait_until(lambda: chip.levels[READY], "the output")
    chip.pull_out()
    wait_until(lambda: adapter.fault, "the fault")
    assert "No such device" in adapter.fault or "No such file" in adapter.fault
    adapter.show(Outputs(trigger_ready=True, results_ready=True, ng=True, part=1))
    chip.levels |= {READY: False, TRIGGER: True}
    chip.plug_in()
    wait_until(lambda: adapter.fault == "", "the chip")
    wait_until(lambda: chip.levels[NG] and chip.levels[RESULTS] and chip.levels[READY], "the outputs of now")
    assert "trigger" not in [name for name, _ in inputs.signals], "a level from before is no trigger"
    chip.set(TRIGGER, False)
    chip.set(TRIGGER, True)
    wait_until(lambda: inputs.signals[-1] == ("trigger", ""), "the trigger")


def test_product_is_read_at_the_trigger(chip, start, wait_until):
    _, inputs = start("trigger=17&product=1,2,3")
    assert ("product", 0) in inputs.signals
    chip.set(1, True)
    chip.set(3, True)
    chip.pulse(TRIGGER)
    wait_until(lambda: inputs.signals[-1] == ("trigger", ""), "the trigger")
    assert inputs.signals[-2] == ("product", 5)


def test_strobe_comes_after_the_delay(chip, start, wait_until):
    start(f"trigger=17&strobe={STROBE}&strobe_seconds=0.02", "delay = 0.05")
    lit = []
    chip.pulse(TRIGGER)
    began = time.monotonic()
    wait_until(lambda: chip.levels[STROBE], "the strobe")
    lit.append(time.monotonic() - began)
    wait_until(lambda: not chip.levels[STROBE], "its end")
    lit.append(time.monotonic() - began)
    assert lit[0] >= 0.045
    assert lit[1] >= 0.065


def test_encoder_moves_parts_to_the_camera(chip, start, wait_until):
    adapter, inputs = start(f"trigger=17&encoder={ENCODER}&distance=10")
    chip.pulse(TRIGGER)
    wait_until(lambda: adapter.distance.targets, "the part at the sensor")
    chip.pulse(ENCODER, 9)
    wait_until(lambda: adapter.distance.counted == 9, "the belt")
    assert "trigger" not in [name for name, _ in inputs.signals]
    before = time.monotonic()
    chip.pulse(ENCODER)
    wait_until(lambda: inputs.signals[-1] == ("trigger", ""), "the trigger at the camera")
    assert inputs.times[-1] >= before
    chip.pulse(TRIGGER)
    wait_until(lambda: adapter.distance.targets, "the part at the sensor")
    chip.pull_out()
    wait_until(lambda: inputs.signals[-1][0] == "miss", "the part that nobody can find again")


def test_encoder_that_stands_gives_up_the_oldest_part():
    distance = EncoderDistance(5)
    assert [distance.add(float(at)) for at in range(256)] == [None] * 256
    assert distance.add(256.0) == 0.0
    assert distance.count(300.0, 5) == [float(at) for at in range(1, 257)]


@pytest.mark.parametrize(
    ("options", "more", "problem"),
    [
        ("ok=5", "", "no line for the trigger"),
        ("trigger=17&ok=17", "", "line 17 is used twice"),
        ("trigger=17&active_low=nothing", "", "unknown signal 'nothing'"),
        ("trigger=17&encoder=5", "", "encoder and distance need each other"),
        ("trigger=17", "acknowledge = true", "no line for the acknowledgment"),
        ("trigger=17&lamp=5", "", "known options"),
    ],
)
def test_wrong_options_are_told(tmp_path, options, more, problem):
    with pytest.raises(ConfigProblem) as raised:
        load_adapter(configure(tmp_path, options, more))
    assert problem in f"{raised.value.message} {raised.value.hint}"


def test_line_that_is_missing_or_taken_is_told(tmp_path, chip, start):
    start("trigger=17")
    for options, problem in (("trigger=GPIO99", "no line GPIO99"), ("trigger=17", "busy")):
        adapter = load_adapter(configure(tmp_path, options))
        with pytest.raises(MachineProblem, match=problem):
            adapter.start(RecordedInputs())


def test_parts_from_edge_to_output(tmp_path, chip, wait_until):
    """The whole line: an edge, a verdict, the outputs; and a part that was lost is shown as an error, never as OK."""
    settings = configure(tmp_path, "trigger=17&results_ready=6&ok=13&error=7", "hold = 0.2\ndeadline = 60.0")
    outbox = Outbox.from_config(settings)
    line = InspectionLine(settings, one_product(settings).products, outbox, lambda: None)
    line.start()
    try:
        chip.pulse(TRIGGER)
        wait_until(lambda: line.event_of(1), "the part")
        line.decide(1, Judgement("accept"))
        wait_until(lambda: chip.levels[OK] and chip.levels[RESULTS], "OK")
        wait_until(lambda: not chip.levels[OK], "its end")
        line.miss(time.monotonic())
        wait_until(lambda: chip.levels[7] and chip.levels[RESULTS], "the error")
        assert not chip.levels[OK]
    finally:
        line.close()
        outbox.close()
    assert not any(chip.levels[each] for each in (RESULTS, OK, 7))

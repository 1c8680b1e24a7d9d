"""Triggers from one side and verdicts to another."""

from __future__ import annotations

import gpiod
import pytest
from gpio_chip import SimulatedChip
from line_inputs import RecordedInputs

from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.line.adapters import load_adapter
from vedette.runtime.line.handshake import Outputs


def configure(folder, outputs):
    (folder / "cameras").mkdir(exist_ok=True)
    (folder / "vedette.toml").write_text("")
    (folder / "cameras" / "triggers.txt").write_text("0.0 A-1\n")
    (folder / "cameras" / "door.toml").write_text(
        f'source = "file:parts"\nbundle = "x.vedette"\n[trigger]\nsource = "file:triggers.txt"\noutputs = "{outputs}"\n'
    )
    return load_config(folder, "door")


@pytest.mark.parametrize("options", ["ok=13&ng=19&results_ready=6", "trigger=17&acknowledge=27&ok=13&results_ready=6"])
def test_verdicts_go_to_the_outputs(tmp_path, monkeypatch, wait_until, options):
    chip = SimulatedChip()
    monkeypatch.setattr(gpiod, "Chip", chip.open)
    adapter, inputs = load_adapter(configure(tmp_path, f"gpio:/dev/gpiochip0?{options}")), RecordedInputs()
    adapter.start(inputs)
    try:
        wait_until(lambda: ("end", None) in inputs.signals, "the trigger of the file")
        adapter.show(Outputs(results_ready=True, ok=True, part=1))
        wait_until(lambda: chip.levels[13] and chip.levels[6], "OK")
        chip.pulse(17)
        chip.set(27, True)
        if "acknowledge" in options:
            wait_until(lambda: ("acknowledge", True) in inputs.signals, "the acknowledgment")
        assert [each for each in inputs.signals if each[0] == "trigger"] == [("trigger", "A-1")]
        chip.pull_out()
        adapter.show(Outputs(heartbeat=True))
        wait_until(lambda: adapter.fault, "the fault of the outputs")
    finally:
        adapter.close()


def test_problem_names_the_key(tmp_path):
    with pytest.raises(ConfigProblem, match=r"trigger\.outputs: unknown 'nothing'"):
        load_adapter(configure(tmp_path, "nothing:"))

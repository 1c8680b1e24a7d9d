"""Energy: meters read as the kernel and USB meters write, and joules per frame are what the load adds."""

from __future__ import annotations

import os
import threading
import time

import pytest
from click.testing import CliRunner
from waiting import wait_for

from vedette.runtime.commands import bench
from vedette.runtime.errors import ConfigProblem, MachineProblem, Problem
from vedette.runtime.evaluation import power_meters
from vedette.runtime.evaluation.energy_measurement import EnergyRequest, measure_energy
from vedette.runtime.evaluation.power_meters import RaplMeter, SampledMeter, open_power_meter, parse_watts, sum_rails

# As a Raspberry Pi 5 prints them.
PMIC_LINES = """\
     3V7_WL_SW_A current(0)=0.08685680A
       3V3_SYS_A current(1)=0.05855368A
       VDD_CORE_A current(7)=0.96124000A
     3V7_WL_SW_V volt(8)=3.70000000V
       3V3_SYS_V volt(9)=3.30000000V
       VDD_CORE_V volt(15)=0.72000000V
           EXT5V_V volt(24)=5.14000000V
"""


class LoadMeter:
    """2 W at rest; each frame adds 0.05 J."""

    name = "simulated"

    def __init__(self):
        self.started, self.frames = time.monotonic(), 0

    def read_joules(self):
        return 2 * (time.monotonic() - self.started) + 0.05 * self.frames

    def frame(self):
        self.frames += 1
        time.sleep(0.002)

    def close(self):
        pass


def write_sysfs(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_joules_of_a_frame_are_those_that_the_load_adds(tmp_path):
    flags, heat = "devices/platform/soc/soc:firmware/get_throttled", "class/thermal/thermal_zone0/temp"
    write_sysfs(tmp_path, {flags: "5", heat: "81500\n"})
    meter = LoadMeter()
    lines = []
    energy = measure_energy({"onnx": meter.frame}, EnergyRequest(meter, 0.02), tmp_path, lines.append)["onnx"]
    assert energy.joules_per_frame == pytest.approx(0.05, rel=0.02)
    assert energy.joules_lowest <= energy.joules_per_frame <= energy.joules_highest
    assert energy.idle_watts == pytest.approx(2, rel=0.02)
    assert (energy.temperature, energy.flags) == (81.5, ("throttled", "undervoltage"))
    assert len(lines) == 3


def test_a_frame_rate_is_held():
    meter = LoadMeter()
    energy = measure_energy({"onnx": meter.frame}, EnergyRequest(meter, 0.03, fps=20))["onnx"]
    assert 10 < energy.fps < 25
    assert energy.load_watts < 2 + 25 * 0.05


def test_a_counter_that_wraps_around_goes_on(tmp_path):
    zone = "class/powercap/intel-rapl:0"
    write_sysfs(
        tmp_path,
        {
            f"{zone}/name": "package-0\n",
            f"{zone}/energy_uj": "9000000\n",
            f"{zone}/max_energy_range_uj": "10000000\n",
            "class/powercap/intel-rapl:0:0/name": "core\n",
            "class/powercap/intel-rapl:0:0/energy_uj": "1\n",
        },
    )
    meter = RaplMeter(tmp_path)
    assert meter.name == "rapl: package-0"
    for energy, total in (("9500000", 0.5), ("200000", 1.2), ("300000", 1.3)):
        write_sysfs(tmp_path, {f"{zone}/energy_uj": energy})
        assert meter.read_joules() == pytest.approx(total)


def test_a_meter_is_not_sampled_before_it_is_read():
    """Sampling would disturb the latency that is measured between opening the meter and reading it."""
    samples = iter(range(1000))
    meter = SampledMeter("samples", lambda: next(samples), pause=0.01)
    time.sleep(0.1)
    assert next(samples) == 1
    assert meter.read_joules() < 0.1
    wait_for(lambda: meter.read_joules() > 0, "a sample of the meter")
    meter.close()


def test_a_sensor_is_added_up_over_time(tmp_path):
    write_sysfs(
        tmp_path,
        {
            "class/hwmon/hwmon0/name": "cpu_thermal\n",
            "class/hwmon/hwmon1/name": "ina226\n",
            "class/hwmon/hwmon1/power1_input": "3000000\n",
        },
    )
    meter = open_power_meter("auto", tmp_path)
    assert meter.name == "hwmon: ina226"
    started = time.monotonic()
    before = meter.read_joules()
    time.sleep(0.3)
    assert meter.read_joules() - before == pytest.approx(3 * (time.monotonic() - started), rel=0.1)
    meter.close()
    with pytest.raises(MachineProblem, match="ina219") as error:
        open_power_meter("hwmon:ina219", tmp_path)
    assert "ina226" in error.value.hint


def measure_written_watts(path, parts, pause, seconds):
    """Mean watts of the text meter while a thread adds the parts of a line to its file again and again."""
    stop = threading.Event()

    def write():
        while not stop.wait(0.02):
            for part in parts:
                with path.open("a") as file:
                    file.write(part)
                time.sleep(pause)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        meter = open_power_meter(f"text:{path}")
        before, started = meter.read_joules(), time.monotonic()
        time.sleep(seconds)
        watts = (meter.read_joules() - before) / (time.monotonic() - started)
        meter.close()
    finally:
        stop.set()
        writer.join()
    return watts


def test_a_stream_of_lines_is_read_from_its_end(tmp_path):
    path = tmp_path / "meter.log"
    path.write_text("99 W\n" * 100)
    line = "volts and amperes: 5.00 V 0.80 A\n"
    assert measure_written_watts(path, (line,), pause=0.0, seconds=0.3) == pytest.approx(4, rel=0.2)


def test_half_a_line_is_not_read(tmp_path):
    path = tmp_path / "meter.log"
    path.write_text("")
    assert measure_written_watts(path, ("1", "2", " W\n"), pause=0.11, seconds=0.8) == pytest.approx(12, rel=0.05)


def test_a_meter_that_is_silent_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(power_meters, "SILENCE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "meter")
    with pytest.raises(MachineProblem, match="no line such as"):
        open_power_meter(f"text:{tmp_path}/meter")


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        ("5.08 V 0.61 A 3.10 W", 3.1),
        ("P=3100mW", 3.1),
        ("5V,500mA", 2.5),
        ("-0.5W", -0.5),
        ("energy 12 Wh", None),
        ("ready", None),
    ],
)
def test_lines_of_meters(line, watts):
    assert parse_watts(line) == (watts if watts is None else pytest.approx(watts))


def test_rails_of_the_power_chip():
    assert sum_rails(PMIC_LINES) == pytest.approx(0.0868568 * 3.7 + 0.05855368 * 3.3 + 0.96124 * 0.72)
    with pytest.raises(ValueError, match="Raspberry Pi 5"):
        sum_rails('error=1 error_msg="Command not registered"')


def test_bench_closes_its_meter_even_if_it_fails(tmp_path, monkeypatch):
    closed = []
    meter = SampledMeter("two watts", lambda: 2.0)
    monkeypatch.setattr(meter, "close", lambda: closed.append(meter))
    monkeypatch.setattr(bench, "open_power_meter", lambda _: meter)
    (tmp_path / "no.vedette").write_bytes(b"no bundle")
    done = CliRunner().invoke(bench.bench, [str(tmp_path / "no.vedette"), "--power-meter", "pmic"])
    assert isinstance(done.exception, Problem)
    assert closed == [meter]


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(ConfigProblem, match="abacus"):
        open_power_meter("abacus", tmp_path)
    with pytest.raises(MachineProblem, match="no energy counter"):
        open_power_meter("rapl", tmp_path)
    with pytest.raises(MachineProblem, match="No such file"):
        open_power_meter(f"text:{tmp_path}/none")
    with pytest.raises(MachineProblem, match="no power meter"):
        open_power_meter("auto", tmp_path)

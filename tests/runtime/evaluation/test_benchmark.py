"""Measurements on a device: `vedette bench`, its profile, the verdict, and benchmarks over SSH."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from shared_build import made_once

from vedette import devices
from vedette.compress.cost import device_costs, remote_benchmark
from vedette.compress.evaluation.file_parity import FileParity
from vedette.compress.evaluation.results import Measurement, Results, TaskMetrics
from vedette.compress.goal.goal_tables import DataSettings, DeviceTable, Goal, Targets
from vedette.compress.report.verdict import judge
from vedette.devices.cost_model import CostPrediction
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.manifest import ONNX
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.evaluation.interleaved_timing import Timing


@pytest.fixture(scope="module")
def printed(anomaly_build, key_folder, run_vedette, tmp_path_factory):
    """The output of `vedette bench --json` for the anomaly bundle on this machine."""

    def measure(_folder):
        options = ("--rounds", "5", "--frame", "320x240", "--keys", key_folder)
        done = run_vedette("bench", anomaly_build.bundle, *options, "--json")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return made_once(tmp_path_factory, "benchmark-output", measure)


def test_bench_measures_each_back_end(printed, anomaly_bundle):
    profile = devices.decode_benchmark_profile(printed.encode())
    host = devices.read_host_profile()
    assert (profile.cpu, profile.cores, profile.memory_mb) == (host.cpu, host.cores, host.memory_mb)
    assert {each.backend for each in profile.measured} == set(anomaly_bundle.manifest.models)
    macs = anomaly_bundle.manifest.measured["macs"]
    for each in profile.measured:
        assert each.model == anomaly_bundle.manifest.model_id
        assert each.frame == (320, 240)
        assert 0 < each.ms <= each.p95_ms
        assert each.ms_per_million_macs * macs / 1e6 == pytest.approx(each.model_ms)
        assert each.cpu_seconds > 0
        assert each.startup_seconds > 0.02, "starting Python takes longer"
        assert 20 < each.peak_rss_mb < 2000


@pytest.mark.slow
def test_bench_writes_a_model_card(anomaly_build, anomaly_bundle, key_folder, run_vedette, tmp_path):
    options = ("--rounds", "5", "--frame", "320x240", "--keys", key_folder)
    done = run_vedette("bench", anomaly_build.bundle, *options, "--json", "--card", tmp_path / "CARD.md")
    assert done.returncode == 0, done.stderr
    profile = devices.decode_benchmark_profile(done.stdout.encode())
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "CARD.md").read_text().splitlines() if "|" in line]
    header, cells = rows[0], {row[0].split(",")[0]: row for row in rows[2:]}
    assert header[1:4] == ["p50 ms", "p90 ms", "p99 ms"]
    manifest = anomaly_bundle.manifest
    for each in profile.measured:
        assert each.ms <= each.p90_ms <= each.p95_ms <= each.p99_ms
        row = dict(zip(header, cells[each.backend], strict=True))
        assert row["p50 ms"] == f"{each.ms:.2f}"
        assert row["size MB"] == f"{manifest.files[manifest.models[each.backend]].bytes / 1e6:.2f}"
        assert row["int8"] == f"{manifest.measured[f'auroc_int8_{each.backend}']:.4f}"
    missing = run_vedette("bench", anomaly_build.bundle, *options, "--card", tmp_path / "no" / "CARD.md")
    assert missing.returncode == 2
    assert "choose another --card" in missing.stderr


def test_bench_prints_a_table(anomaly_build, key_folder, run_vedette):
    done = run_vedette("bench", anomaly_build.bundle, "--rounds", "2", "--frame", "64x64", "--keys", key_folder)
    assert "frames of 64 x 64 pixels, 1 thread" in done.stdout
    assert {"onnx", "tflite"} <= {line.split(" ")[0] for line in done.stdout.splitlines()}
    assert run_vedette("bench", anomaly_build.bundle, "--frame", "64 by 64", "--keys", key_folder).returncode == 2


def test_measured_profile_names_the_source_of_a_figure(printed, anomaly_bundle):
    profile = devices.decode_benchmark_profile(printed.encode())
    manifest, model = anomaly_bundle.manifest, anomaly_bundle.model(ONNX)
    measured = {each.backend: each for each in profile.measured}
    there = device_costs.predict_costs(model, profile, manifest).on_device
    assert set(there) == set(measured)
    for name, each in there.items():
        assert each.origin == "measured there"
        assert (each.ms, each.ms_high) == (measured[name].ms, measured[name].p95_ms)
    other = device_costs.predict_costs(model, profile, msgspec.structs.replace(manifest, release=2)).on_device
    for name, each in other.items():
        assert each.origin == "predicted from a measurement there"
        assert each.ms == pytest.approx(measured[name].ms), "the same work takes the same time"


def test_a_measurement_calibrates_the_cost_model(anomaly_bundle):
    """For a core with instruction counts, time is proportional to predicted instructions, not to multiplications."""
    pi5 = devices.load_profile("pi5")
    manifest, model = anomaly_bundle.manifest, anomaly_bundle.model(ONNX)
    counted = manifest.measured["instructions"]["Cortex-A76"]["tflite"]
    measured = devices.BenchmarkResult(
        model="another:1:00000000",
        backend="tflite",
        version="x",
        threads=1,
        frame=(640, 480),
        ms=5.0,
        p95_ms=6.0,
        model_ms=4.0,
        cpu_seconds=0.005,
        peak_rss_mb=60.0,
        startup_seconds=1.0,
        ms_per_million_macs=1.0,
        ms_per_million_instructions=0.5,
    )
    there = device_costs.predict_costs(model, msgspec.structs.replace(pi5, measured=(measured,)), manifest).on_device
    assert there["onnx"].origin == "predicted from counts", "this back end was not measured"
    assert there["tflite"].origin == "predicted from a measurement there"
    assert there["tflite"].ms == pytest.approx(1.0 + 0.5 * counted / 1e6, rel=1e-4)
    assert there["tflite"].ms_low < there["tflite"].ms < there["tflite"].ms_high


def test_bundle_carries_its_cost(anomaly_build):
    measured = anomaly_build.manifest.measured
    assert measured["macs"] > 1e6
    for core in ("Cortex-A72", "Cortex-A76"):
        assert set(measured["instructions"][core]) == {"onnx", "tflite"}
    there = measured["on_device"]
    assert {each["origin"] for each in there.values()} == {"measured here"}, "on the host nothing needs to be predicted"
    assert there["tflite"]["ms_high"] == measured["p95_ms_int8_tflite"]


@pytest.mark.parametrize(
    ("prediction", "met", "said"),
    [
        (CostPrediction(1e7, 9e6, 2e7, "predicted from counts", 5.0, 3.0, 9.0), True, "predicted from counts"),
        (CostPrediction(1e7, 9e6, 2e7, "predicted from counts", 15.0, 11.0, 30.0), False, "15 ms (11 … 30)"),
        (CostPrediction(1e7, 9e6, 2e7, "predicted from counts", 8.0, 4.0, 20.0), None, "which allows either"),
        (
            CostPrediction(1e7, 9e6, 2e7, "predicted from counts"),
            None,
            "10.0 million instructions; nothing is known of how",
        ),
        (CostPrediction(None, None, None, "measured there", 9.0, 9.0, 9.9), True, "p95, measured there"),
        (CostPrediction(None, None, None, "measured there", 9.0, 9.0, 10.1), False, "p95, measured there"),
        (
            CostPrediction(None, None, None, "predicted from a measurement there", 8.0, 8.0, 9.0),
            True,
            "from a measurement",
        ),
    ],
)
def test_latency_verdict_depends_on_known_device_figures(prediction, met, said):
    goal = Goal(
        name="x", task="anomaly", data=DataSettings(good="g"), goal=Targets(max_ms=10.0), device=DeviceTable("pi4")
    )
    models = ("fp32", "int8_onnx", "int8_tflite")
    metrics = TaskMetrics(metric="auroc", by_model=dict.fromkeys(models, Measurement(None)), images={}, machine="")
    timings, sizes = dict.fromkeys(models, Timing(4.0, 5.0)), dict.fromkeys(models, 1)
    results = Results(metrics=metrics, timings=timings, sizes=sizes, parity=FileParity(0))
    costs = device_costs.DeviceCosts(devices.load_profile("pi4"), 0, {}, {"onnx": prediction})
    (judgement,) = judge(goal, results, costs).judgements
    assert judgement.met is met
    assert said in judgement.why


def test_invalid_profile_is_rejected(anomaly_images, tmp_path, run_vedette):
    (tmp_path / "measured.json").write_text('{"name": "pi4"}')
    done = run_vedette(
        "build", anomaly_images / "goal.toml", "--out", tmp_path, "--profile", tmp_path / "measured.json"
    )
    assert done.returncode == 2
    assert "not a measured profile" in done.stderr
    assert "vedette bench" in done.stderr


# Over SSH: a real server and a real client, from this machine's OpenSSH

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="no OpenSSH here: apt-get install openssh-server"
)


@pytest.fixture
def device(tmp_path, monkeypatch):
    """The URL of an sshd of its own on a free port, and the folder of its programs (PATH); the client trusts it."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd needs it to start
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\n"
        f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nPermitRootLogin yes\n"
        f"SetEnv PATH={programs}:/usr/bin:/bin TMPDIR={tmp_path}\nSubsystem sftp internal-sftp\n"
    )
    kind, text, _ = (tmp_path / "host.pub").read_text().split(" ", 2)
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {kind} {text}\n")
    (tmp_path / "ssh_config").write_text(f"IdentityFile {tmp_path}/user\nUserKnownHostsFile {tmp_path}/known\n")
    wrappers = tmp_path / "wrappers"
    wrappers.mkdir()
    for name in ("ssh", "scp"):
        (wrappers / name).write_text(f'#!/bin/sh\nexec {shutil.which(name)} -F {tmp_path}/ssh_config "$@"\n')
        (wrappers / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrappers}:{os.environ['PATH']}")
    log = (tmp_path / "sshd.log").open("wb")
    with subprocess.Popen([SSHD, "-D", "-e", "-f", str(tmp_path / "sshd_config")], stderr=log) as server:
        for _ in range(100):
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            try:
                server.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            pytest.skip(f"sshd does not start here: {(tmp_path / 'sshd.log').read_text()}")
        yield f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{port}", programs
        server.terminate()
    log.close()


def install(programs):
    """Installs a `vedette` command that runs this checkout."""
    command = programs / "vedette"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m vedette.runtime.cli "$@"\n')
    command.chmod(0o755)


@needs_sshd
def test_models_are_measured_over_ssh(device, anomaly_bundle, key_folder, tmp_path):
    url, programs = device
    install(programs)
    remote_benchmark.check_device(url)
    members = {name: anomaly_bundle.members[name] for name in anomaly_bundle.manifest.files}
    key = keys.read_private_key(key_folder / "vedette.key")
    profile = remote_benchmark.run_remote_benchmark(url, anomaly_bundle.manifest, members, key)
    assert {each.backend for each in profile.measured} == {"onnx", "tflite"}
    assert {each.model for each in profile.measured} == {anomaly_bundle.manifest.model_id}
    assert not list(tmp_path.glob("tmp.*")), "nothing is left there"
    there = device_costs.predict_costs(anomaly_bundle.model(ONNX), profile, anomaly_bundle.manifest).on_device
    assert {each.origin for each in there.values()} == {"measured there"}


@needs_sshd
def test_device_error_is_reported(device):
    url, programs = device
    with pytest.raises(MachineProblem) as missing:
        remote_benchmark.check_device(url)
    assert "pip install vedette on the device" in missing.value.hint
    (programs / "vedette").write_text("#!/bin/sh\necho no camera >&2\nexit 4\n")
    (programs / "vedette").chmod(0o755)
    with pytest.raises(MachineProblem, match="no camera"):
        remote_benchmark.check_device(url)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client here")
def test_unreachable_device_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(MachineProblem, match="cannot be reached"):
        remote_benchmark.check_device(f"ssh://nobody@127.0.0.1:{port}")


@pytest.mark.parametrize(
    "url", ["pi@host", "http://pi@host", "ssh://", "ssh://pi@host/folder", "ssh://-oProxyCommand=x", "ssh://a:b@host"]
)
def test_invalid_address_is_rejected(url):
    with pytest.raises(ConfigProblem, match="--on"):
        remote_benchmark.check_device(url)


def test_profiles_survive_json(printed):
    profile = devices.decode_benchmark_profile(printed.encode())
    assert devices.decode_benchmark_profile(msgspec.json.encode(profile)) == profile
    assert json.loads(printed)["measured"][0]["backend"] in ("onnx", "tflite")

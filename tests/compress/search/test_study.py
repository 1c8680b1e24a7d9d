"""The search for a design ends, evaluates no design twice, continues after a kill, and is shared by processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from paths import TESTS
from products import write_goal_for
from shared_build import made_once
from small_search import PI4, SMALL_SPACE, feature_cache_of, run_small_search

from vedette.compress.cost import operator_counts
from vedette.compress.cost.cost_limits import (
    REFERENCE_DESIGN,
    CostLimits,
    derive_cost_limits,
    predict_instructions_or_macs,
    predict_reference_cost,
)
from vedette.compress.cost.design_cost import estimate_design_cost
from vedette.compress.goal import goal_reader
from vedette.compress.goal.goal_tables import ModelTable
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.graph.torch_export import export_to_onnx
from vedette.compress.models import anomaly, efficientnet_lite
from vedette.compress.models.design import (
    BLOCK_CHOICES,
    DEFAULT_BLOCKS,
    INPUT_SIZES,
    RANK_CHOICES,
    Design,
    SearchSpace,
)
from vedette.compress.quantization.quantize import quantize
from vedette.compress.search import finalists, selection, study
from vedette.compress.search.search_setup import study_url
from vedette.runtime.errors import MachineProblem

SCRIPT = """\
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import msgspec
from shared_build import made_once
from small_search import feature_cache_of, run_small_search

def log(text):
    print(text, flush=True)

print(msgspec.json.encode(run_small_search(feature_cache_of(Path(sys.argv[1])), sys.argv[2], 300.0, log)).decode())
"""


@pytest.fixture(scope="module")
def feature_cache(anomaly_images):
    return feature_cache_of(anomaly_images)


@pytest.fixture(scope="module")
def complete_search(feature_cache, tmp_path_factory):
    """The trials of a search without interruption."""
    return made_once(
        tmp_path_factory, "complete-search", lambda folder: run_small_search(feature_cache, study_url(folder))
    )


def test_search_covers_a_small_space_without_repeats(complete_search):
    designs = [trial.design for trial in complete_search]
    assert len(set(designs)) == len(designs)
    assert set(designs) == {
        SMALL_SPACE.make_design("padim", blocks, size, rank)
        for blocks in SMALL_SPACE.blocks
        for size in SMALL_SPACE.input_sizes
        for rank in SMALL_SPACE.ranks
    }
    assert all(
        0 <= trial.auroc <= 1 and trial.cost == predict_instructions_or_macs(estimate_design_cost(trial.design), PI4)
        for trial in complete_search
    )


def test_initial_designs_within_the_limits_come_first(complete_search):
    first = [trial for trial in complete_search if trial.design in SMALL_SPACE.initial_designs()]
    excess = [max(trial.cost - 9e6, 0) for trial in first]
    assert excess == sorted(excess)
    assert complete_search[: len(first)] == first


@pytest.mark.slow
def test_killed_search_continues_with_the_same_trials(anomaly_images, feature_cache, complete_search, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(TESTS / "support")))
    command = [sys.executable, str(script), str(anomaly_images), study_url(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    lines: list[str] = []
    assert run_small_search(feature_cache, study_url(tmp_path), say=lines.append) == complete_search
    assert len(lines) <= len(complete_search) - 2  # only the last trial before the kill may be repeated


def test_search_without_time_has_one_trial(feature_cache, complete_search, tmp_path):
    assert run_small_search(feature_cache, study_url(tmp_path), seconds=0) == complete_search[:1]


def test_unreachable_database_is_an_error_with_a_hint(feature_cache, tmp_path):
    with pytest.raises(MachineProblem, match="no study in") as caught:
        run_small_search(feature_cache, f"sqlite:///{tmp_path}/missing/study.db")
    assert caught.value.hint
    with pytest.raises(MachineProblem) as caught:
        run_small_search(feature_cache, "postgresql://someone:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


# Many processes


def test_design_stays_locked_until_its_trial_fails(tmp_path):
    optuna_study, locks = study._open_study(study_url(tmp_path), "locks")
    first, second, third = optuna_study.ask(), optuna_study.ask(), optuna_study.ask()
    assert locks.acquire("a design", first)
    assert not locks.acquire("a design", second)
    assert locks.acquire("another", second)
    assert locks.running_designs() == {"a design", "another"}
    optuna_study.tell(first, state=optuna.trial.TrialState.FAIL)
    optuna_study.tell(second, (0.5, 1.0, 1.0))
    assert locks.running_designs() == set()
    assert locks.acquire("a design", third)
    assert not locks.acquire("another", third)
    other_study, other_locks = study._open_study(study_url(tmp_path), "another study")
    assert other_locks.acquire("a design", other_study.ask())


@pytest.fixture
def postgresql():
    """URL of a database in a temporary PostgreSQL server."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), shutil.which("initdb")]
    if os.getuid() != 0 or not found[0] or not shutil.which("runuser"):
        pytest.skip("no PostgreSQL server to start (Debian: postgresql), or not root")
    programs = Path(found[0]).parent
    folder = Path(tempfile.mkdtemp(prefix="study", dir="/tmp"))
    shutil.chown(folder, "postgres")

    def run(*command):
        subprocess.run(["runuser", "-u", "postgres", "--", *map(str, command)], check=True, capture_output=True)

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    run(programs / "initdb", "-D", folder / "data", "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run(programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
    yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    run(programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.mark.slow
def test_processes_share_a_study_and_one_is_killed(anomaly_images, complete_search, postgresql, tmp_path):
    script = tmp_path / "script.py"
    short = "import vedette.compress.search.study as s\ns.HEARTBEAT_SECONDS, s.GRACE_SECONDS = 1, 4\n"
    script.write_text(short + SCRIPT.format(tests=str(TESTS / "support")))
    command = [sys.executable, str(script), str(anomaly_images), postgresql]
    victim, *others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    first = victim.stdout.readline().strip()
    victim.send_signal(signal.SIGKILL)
    victims, _ = victim.communicate()
    outputs = [process.communicate(timeout=250)[0].splitlines() for process in others]
    for lines in outputs:  # each process knows all trials at the end
        trials = msgspec.json.decode(lines[-1], type=list[selection.Trial])
        assert {trial.design: trial.auroc for trial in trials} == {
            trial.design: trial.auroc for trial in complete_search
        }
    evaluated = [line for lines in outputs for line in lines[:-1]]
    done = [first, *victims.splitlines()][:-1]  # its last trial is evaluated again
    assert len(evaluated + done) == len(set(evaluated + done)) <= len(complete_search)


# The search space


@given(
    st.sampled_from(tuple(DEFAULT_BLOCKS)),
    st.sampled_from(BLOCK_CHOICES),
    st.sampled_from(INPUT_SIZES),
    st.sampled_from((*RANK_CHOICES, 999)),
)
def test_every_point_of_the_space_is_a_design(name, blocks, size, rank):
    one = SearchSpace.for_goal(ModelTable(), 100).make_design(name, blocks, size, rank)
    compared = {"padim": blocks, "student": blocks[1:]}.get(name)
    has_rank = rank is not None and bool(compared) and rank < anomaly.count_feature_channels(compared)
    assert (one.rank is None) != has_rank
    assert msgspec.convert(msgspec.to_builtins(one), Design) == one


def test_space_keeps_the_choices_of_the_goal_file():
    space = SearchSpace.for_goal(ModelTable(detector="padim", blocks=(7, 4), input=96, rank=8), 100)
    assert space == SearchSpace(("padim",), ((4, 7),), (96,), (8,))
    assert space.initial_designs() == [Design("padim", (4, 7), 96, 8)]
    assert all(len(blocks) > 1 for blocks in SearchSpace.for_goal(ModelTable(detector="student"), 100).blocks)


def test_smaller_input_fewer_blocks_and_lower_rank_cost_less():
    costs = [
        Design("padim", (4, 10)),
        Design("padim", (4, 10), 224, 64),
        Design("padim", (4, 10), 160, 64),
        Design("padim", (4,), 160, 16),
    ]
    found = [predict_instructions_or_macs(estimate_design_cost(one), PI4) for one in costs]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


def test_cost_limits_follow_from_the_goal(anomaly_images):
    goal = goal_reader.read_goal(anomaly_images / "goal.toml")
    assert derive_cost_limits(goal, PI4) == CostLimits()
    wish = msgspec.structs.replace(goal.goal, min_speedup=4.0, max_bytes=100_000)
    asked = msgspec.structs.replace(goal, goal=wish)
    assert derive_cost_limits(asked, PI4, margin=0) == CostLimits(predict_reference_cost(PI4) / 4, 100_000)
    assert derive_cost_limits(asked, PI4).cost < predict_reference_cost(PI4) / 4
    unknown = msgspec.structs.replace(PI4, costs={})
    assert derive_cost_limits(asked, unknown, margin=0).cost == estimate_design_cost(REFERENCE_DESIGN).macs / 4
    assert selection.Trial.for_design(REFERENCE_DESIGN, PI4).limit_excess(selection.NO_LIMITS) <= 0


def test_design_cost_agrees_with_the_quantized_graph():
    """The cost of a design before it is fitted, and the counts of its quantized graph."""
    one = Design("padim", (2, 4), 96, 16)
    detector = one.create_model(efficientnet_lite.load_backbone(one.blocks))
    detector.assume_largest_structure()
    rng = torch.Generator().manual_seed(0)
    sizes = zip(detector.backbone.channels, detector.backbone.strides, strict=True)
    levels = [torch.rand(6, channels, 96 // stride, 96 // stride, generator=rng) for channels, stride in sizes]
    detector.fit(levels, levels, torch.zeros(1))
    images = [np.full((1, 96, 96, 3), 40 * n, np.uint8) for n in range(1, 6)]
    model = quantize(
        QuantizationSettings(),
        export_to_onnx(detector, 96),
        images,
        efficientnet_lite.backbone_input_spec(96),
        detector.bounded_outputs,
    )
    cost = estimate_design_cost(one)
    assert cost.macs == operator_counts.count_macs(model)
    for name in ("onnx", "tflite"):
        counted = PI4.predict_cost(name, operator_counts.count_operators(model, name)).instructions
        assert PI4.predict_cost(
            name, operator_counts.adapt_to_backend(cost.operators, name)
        ).instructions == pytest.approx(counted, rel=0.02)
    assert cost.bytes == pytest.approx(len(model.SerializeToString()), rel=0.35)


# The command


@pytest.mark.slow
def test_fallbacks_are_built_if_the_int8_model_loses_too_much(anomaly_images, build_bundle, tmp_path, monkeypatch):
    """Every model loses too much here: the best one is built again, as a finalist of its own. A recipe can search."""
    monkeypatch.setattr(finalists, "CHANNEL_FRACTIONS", ())
    monkeypatch.setattr(finalists, "QUANTIZATION_FALLBACKS", ({"bias_correction": True},))
    monkeypatch.setattr(finalists, "MAX_AUROC_DROP", -1.0)
    messages = []
    recipe = '[[recipe]]\nuse = "search"\ntime = "600s"\n[model]\ndetector = "padim"\nrank = 64'
    goal = write_goal_for(anomaly_images, tmp_path, ("[model]", recipe))
    built = build_bundle(goal, tmp_path / "out", log=messages.append)
    assert built.manifest.measured["trials"]
    assert any("building it again with bias_correction" in message for message in messages)
    report = json.loads((tmp_path / "out" / "weave.json").read_text())
    designs = {json.dumps(finalist["design"]) for finalist in report["finals"]}
    assert len(report["finals"]) == len(designs) + 1
    assert len(list((tmp_path / "out" / "weave.work").glob("*.final"))) == len(report["finals"])
    same_design = [each["auroc"] for each in report["finals"] if each["design"] == report["finals"][-1]["design"]]
    if same_design[-1] > same_design[0]:
        assert [step["name"] for step in report["steps"]] == ["ranges, minmax", "bias correction"]
    assert built.manifest.measured["auroc_int8_onnx"] > 0.9


@pytest.mark.slow
def test_finalist_built_before_a_kill_is_not_built_again(anomaly_images, tmp_path):
    recipe = '[[recipe]]\nuse = "prune"\n[[recipe]]\nuse = "distil"\nsteps = 10\n[model]\ndetector = "padim"\n'
    goal = write_goal_for(anomaly_images, tmp_path, ("[model]\n", recipe))

    def command(folder):
        return [sys.executable, str(Path(__file__).with_name("fit_finalists.py")), str(goal), str(folder)]

    with subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.PIPE, text=True) as process:
        while "int8 AUROC" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGKILL)
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*.final")}
    assert cached
    uninterrupted, resumed = (
        subprocess.run(command(tmp_path / name), check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        for name in ("uninterrupted", "killed")
    )
    assert uninterrupted[-2:] == resumed[-2:]
    assert len(msgspec.json.decode(uninterrupted[-1])) == 2
    assert {path: path.stat().st_mtime_ns for path in cached} == cached


@pytest.mark.build
def test_refused_search_writes_nothing(call_vedette, anomaly_images, tmp_path):
    classes = (
        ('task = "anomaly"', 'task = "classify"'),
        ("blocks = [2, 4]", ""),
        ("pictures = 6\n", ""),
        ("min_auroc = 0.9\nfalse_alarm_rate = 0.1", ""),
    )
    for name, changes, message in (("few", (), "no images"), ("classify", classes, "cannot be searched")):
        folder = tmp_path / name
        folder.mkdir()
        goal = write_goal_for(anomaly_images, folder, *changes)
        if name == "few":
            (folder / "good").mkdir()
            goal.write_text(goal.read_text().replace(f'"{anomaly_images}/good"', '"good"'))
        result = call_vedette("build", goal, "--out", folder / "out", "--time", "1m", HOME=str(tmp_path))
        assert result.returncode == 2, result.stderr
        assert message in result.stderr
        assert not (folder / "out").exists()


@pytest.mark.slow
def test_build_with_time_reports_its_trials_and_finalists(call_vedette, anomaly_images, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "vedette.compress.models.design.DEFAULT_INPUT", 128
    )  # everything is smaller, and so takes less time
    monkeypatch.setattr("vedette.compress.models.design.INPUT_SIZES", (128, 96, 64))
    goal = write_goal_for(
        anomaly_images,
        tmp_path,
        ("input = 96\n", ""),
        ("[goal]\n", "[goal]\nmin_speedup = 1000.0\n"),
        ("[model]", '[model]\ndetector = "padim"'),
    )
    result = call_vedette("build", goal, "--out", tmp_path / "out", "--time", "4s", "--json", HOME=str(tmp_path))
    assert result.returncode == 1, result.stderr  # a thousandth of the time: nothing does
    report = json.loads((tmp_path / "out" / "weave.json").read_text())
    assert report["trials"]
    assert report["finals"]
    assert report["input"] < 128
    assert "min_speedup" in report["missed"][0]
    page = (tmp_path / "out" / "weave.html").read_text()
    assert page.count("<circle") == len(report["trials"])

"""A finalist whose two int8 files differ is not chosen, and the report names it."""

from __future__ import annotations

import json

import msgspec
import onnx
import pytest
from fitted_designs import build_design
from products import write_goal_for
from small_search import PI4

from vedette.compress.cost.cost_limits import CostLimits
from vedette.compress.evaluation.file_parity import find_fault
from vedette.compress.export.tflite import elementwise
from vedette.compress.export.tflite.operators import OPERATORS
from vedette.compress.goal.goal_tables import DataSettings, Goal, ModelTable
from vedette.compress.models.design import Design
from vedette.compress.report.pareto_chart import design_chart
from vedette.compress.search import default_build, finalists
from vedette.compress.search.finalists import Finalist, FinalistBuilder
from vedette.compress.search.selection import Trial
from vedette.compress.training.float_and_int8_model import FloatAndInt8Model

GOAL = Goal(name="plate", task="anomaly", data=DataSettings(good="."), model=ModelTable(input=64))
WHY = "int8 ONNX and TFLite differ on 3 of 48 images"
DEFAULT, SMALLER = Design("padim", (2, 4), 128), Design("padim", (2, 4), 96)


@pytest.fixture(scope="module")
def plate():
    """A fitted design and images for it."""
    models, images = build_design(Design("padim", (4,), 64))
    graphs = [onnx.ModelProto.FromString(models.files[name]) for name in ("fp32", "int8_onnx")]
    return FloatAndInt8Model(graphs[0], graphs[1], graphs[0], ()), images


def test_files_that_differ_are_a_fault(plate, monkeypatch):
    trained, images = plate
    assert not find_fault(GOAL, trained, images)
    monkeypatch.setitem(OPERATORS, "Add", elementwise.write_sub)
    assert "(Add) is the first to differ" in find_fault(GOAL, trained, images)


def test_file_that_a_library_refuses_is_a_fault(plate, monkeypatch):
    trained, images = plate
    monkeypatch.setattr(
        "vedette.compress.evaluation.built_models.write_tflite", lambda _: b"\x18\0\0\0TFL3" + bytes(64)
    )
    assert "refuses the model" in find_fault(GOAL, trained, images)


def builder_of(*built: Trial) -> FinalistBuilder:
    """A builder that has built these, the first of them as the default."""
    builder = FinalistBuilder.__new__(FinalistBuilder)
    model = FloatAndInt8Model(onnx.ModelProto(), onnx.ModelProto(), onnx.ModelProto(), ())
    builder.limits = CostLimits()
    builder.finalists = [Finalist(trial, model, 0.0) for trial in built]
    builder.expected = default_build.ExpectedLosses(built, built[0].design)
    builder.yardsticks = {default_build.KEY: builder.finalists[0]}
    return builder


@pytest.mark.parametrize(("wrong", "chosen"), [((), SMALLER), ((1,), DEFAULT), ((0,), SMALLER), ((0, 1), SMALLER)])
def test_finalists_at_fault_are_not_chosen_unless_all_are(wrong, chosen, monkeypatch):
    """If all are, the gate of the build refuses the chosen one."""
    monkeypatch.setattr(default_build, "HALVING_LOSS", 0.0)
    trials = [Trial.for_design(design, PI4, auroc=0.99) for design in (DEFAULT, SMALLER)]
    built = [
        msgspec.structs.replace(trial, left_out=WHY) if index in wrong else trial for index, trial in enumerate(trials)
    ]
    assert builder_of(*built).best().trial.design == chosen


def test_chart_names_what_was_left_out():
    trial = Trial.for_design(DEFAULT, PI4, auroc=0.99)
    other = msgspec.structs.replace(Trial.for_design(SMALLER, PI4, auroc=0.99), left_out=WHY)
    chart = design_chart([trial, other], [trial, other], trial, CostLimits(), "instructions")
    assert chart is not None
    assert chart["left_out"] == [f"{SMALLER}: {WHY}"]


@pytest.mark.slow
def test_search_leaves_a_design_at_fault_out(anomaly_images, build_bundle, tmp_path, monkeypatch):
    """The default design is at fault: another one is chosen, and report and page say why."""
    monkeypatch.setattr(finalists, "CHANNEL_FRACTIONS", (0.75,))
    faults = iter([WHY])
    monkeypatch.setattr(finalists, "find_fault", lambda *_: next(faults, ""))
    goal = write_goal_for(anomaly_images, tmp_path, ("[model]", '[model]\ndetector = "padim"'))
    lines: list[str] = []
    build_bundle(goal, tmp_path / "out", log=lines.append, search_seconds=600.0)
    report = json.loads((tmp_path / "out" / "weave.json").read_text())
    assert [final.get("left_out") for final in report["finals"]] == [WHY, *[None] * (len(report["finals"]) - 1)]
    (left_out,) = [line.partition(" is left out: ")[0] for line in lines if WHY in line]
    (chosen,) = [line for line in lines if line.startswith("chose ")]
    assert chosen != f"chose {left_out}"
    assert f": {WHY}.</p>" in (tmp_path / "out" / "weave.html").read_text()

"""The cost model of a device, and the profiles that hold it."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from vedette import devices
from vedette.devices.cost_model import (
    ChannelTile,
    CostModel,
    InstructionCoefficients,
    InstructionsPerSecond,
    OperatorClass,
    OperatorCount,
    PrecisionCosts,
)

PROFILES = ("zero2w", "pi3", "pi4", "pi5", "jetson-orin-nano")


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_state_their_prediction_error(name):
    profile = devices.load_profile(name)
    assert {"onnx", "tflite"} == set(profile.costs)
    for model in profile.costs.values():
        assert "counted" in model.source
        for costs in model.precisions.values():
            assert costs.error_worst < 0.1
            assert 0 < costs.error_median <= costs.error_worst <= costs.spread < 0.3
            assert costs.spread <= costs.added_spread < 0.3
            assert set(costs.added) <= set(costs.kinds) <= set(get_args(OperatorClass))


def test_instructions_are_the_documented_sum():
    costs = PrecisionCosts(
        {"pointwise": InstructionCoefficients(2, 3, 5, 7, 11, 13)}, 0.01, 0.02, 0.25, ChannelTile(4, 8)
    )
    model = CostModel(100.0, {"int8": costs}, "invented")
    one = OperatorCount("pointwise", "int8", positions=10, output_channels=9, input_channels=5, taps=1, reads=50)
    expected = 100 + 2 * 10 * 8 * 16 + 3 * 50 + 5 * 10 * 16 + 7 * 8 * 16 + 11 * 10 + 13
    assert model.predict_instructions([one]) == expected
    profile = msgspec.structs.replace(
        devices.load_profile("pi5"),
        costs={"onnx": model},
        speed=InstructionsPerSecond(low=500, high=2000, typical=1000, source="invented"),
    )
    found = profile.predict_cost("onnx", [one])
    assert found.instructions_low == expected / 1.25
    assert found.instructions_high == expected / 0.75
    assert found.ms == pytest.approx(expected / 1e6)
    assert found.ms_low == pytest.approx(expected / 1.25 / 2e6)
    assert found.ms_high == pytest.approx(expected / 0.75 / 0.5e6)


def test_classes_fitted_later_have_an_error_of_their_own():
    known, added = (OperatorCount(kind, "int8", positions=1, output_channels=1) for kind in ("pointwise", "pool"))
    costs = PrecisionCosts(
        {"pointwise": InstructionCoefficients(per_node=1), "pool": InstructionCoefficients(per_node=1)},
        0.0,
        0.0,
        0.1,
        added=("pool",),
        added_spread=0.2,
    )
    model = CostModel(0.0, {"int8": costs}, "invented")
    assert model.relative_error([known]) == 0.1
    assert model.relative_error([known, added]) == 0.2


def test_host_comes_first_and_every_profile_loads():
    names = devices.profile_names()
    assert names[0] == "host"
    assert [devices.load_profile(name).name for name in names] == names
    with pytest.raises(KeyError):
        devices.load_profile("pi6")


@pytest.mark.parametrize("name", PROFILES)
def test_closest_profile_of_a_device_is_its_own(name):
    profile = devices.load_profile(name)
    assert devices.find_matching_profile(profile) == profile
    assert devices.find_matching_profile(msgspec.structs.replace(profile, cpu="unknown")) is None

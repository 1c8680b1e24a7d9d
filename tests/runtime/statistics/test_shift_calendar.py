"""Shifts over midnight and over changes of the clocks."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.runtime.config.shift_table import ShiftSettings, check_shifts
from vedette.runtime.statistics.shift_calendar import ShiftCalendar

BERLIN = ZoneInfo("Europe/Berlin")
THREE = (
    ShiftSettings("early", "06:00", "14:00"),
    ShiftSettings("late", "14:00", "22:00"),
    ShiftSettings("night", "22:00", "06:00"),
)


def at(text: str, fold: int = 0, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def test_a_night_shift_belongs_to_the_day_on_which_it_begins() -> None:
    calendar = ShiftCalendar(THREE, BERLIN)
    for moment in ("2026-11-28T22:00", "2026-11-28T23:59", "2026-11-29T00:00", "2026-11-29T05:59"):
        shift = calendar.find(at(moment))
        assert (shift.day, shift.name) == ("2026-11-28", "night")
    assert calendar.find(at("2026-11-29T06:00")).name == "early"
    assert calendar.find(at("2026-11-29T14:00")).name == "late"


@pytest.mark.parametrize(("day", "hours"), [("2026-03-28", 7), ("2026-10-24", 9), ("2026-11-28", 8)])
def test_a_night_shift_over_a_change_of_the_clocks_is_an_hour_shorter_or_longer(day: str, hours: int) -> None:
    shift = ShiftCalendar(THREE, BERLIN).find(at(f"{day}T23:30"))
    assert (shift.day, shift.name) == (day, "night")
    assert shift.ends - shift.begins == 3600 * hours


def test_the_repeated_hour_belongs_to_one_shift_after_the_other() -> None:
    """The clocks show 02:00 to 03:00 twice: a shift that ends at 02:30 ends when they show it for the first time."""
    calendar = ShiftCalendar((ShiftSettings("a", "18:00", "02:30"), ShiftSettings("b", "02:30", "10:00")), BERLIN)
    found = [calendar.find(at(f"2026-10-25T{clock}", fold)).name for clock, fold in (
        ("02:15", 0), ("02:29", 0), ("02:30", 0), ("02:15", 1), ("02:45", 1), ("03:00", 0)
    )]  # fmt: skip
    assert found == ["a", "a", "b", "b", "b", "b"]


def test_the_skipped_hour_moves_a_boundary_and_loses_no_moment() -> None:
    calendar = ShiftCalendar((ShiftSettings("a", "18:00", "02:30"), ShiftSettings("b", "02:30", "10:00")), BERLIN)
    before, after = calendar.find(at("2026-03-29T01:59")), calendar.find(at("2026-03-29T04:00"))
    assert (before.name, after.name) == ("a", "b")
    assert before.ends == after.begins


def test_a_shift_that_lies_in_the_skipped_hour_does_not_exist() -> None:
    calendar = ShiftCalendar((ShiftSettings("a", "02:15", "02:45"),), BERLIN)
    day = datetime(2026, 3, 29).date()
    lengths = [shift.ends - shift.begins for shift in calendar.list_day(day)]
    assert all(length > 0 for length in lengths)
    assert calendar.find(at("2026-03-29T01:59")).name == ""


def test_time_between_the_shifts_and_no_shifts() -> None:
    shift = ShiftCalendar(THREE[:1], BERLIN).find(at("2026-11-29T15:00"))
    assert (shift.day, shift.name) == ("2026-11-29", "")
    whole = ShiftCalendar((), BERLIN).find(at("2026-10-25T15:00"))
    assert (whole.day, whole.name, whole.ends - whole.begins) == ("2026-10-25", "day", 25 * 3600)


@given(
    st.integers(int(at("2025-01-01")), int(at("2028-01-01"))),
    st.lists(st.integers(0, 95), min_size=2, max_size=6, unique=True),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Seoul"]),
)
def test_shifts_that_fill_the_day_hold_every_moment_once(moment: int, quarters: list[int], zone: str) -> None:
    clocks = [f"{quarter // 4:02d}:{quarter % 4 * 15:02d}" for quarter in sorted(quarters)]
    shifts = [
        ShiftSettings(f"s{start}", start, end) for start, end in zip(clocks, clocks[1:] + clocks[:1], strict=True)
    ]
    assert check_shifts(shifts) == ""
    calendar = ShiftCalendar(shifts, ZoneInfo(zone))
    shift = calendar.find(moment)
    assert shift.name
    assert shift.begins <= moment < shift.ends
    today = datetime.fromtimestamp(moment, ZoneInfo(zone)).date()
    days = [today + timedelta(number) for number in (-2, -1, 0, 1, 2)]
    holding = [each for day in days for each in calendar.list_day(day) if each.begins <= moment < each.ends]
    assert holding == [shift]


@pytest.mark.parametrize(
    ("shifts", "words"),
    [
        ([("a", "06:00", "14:00"), ("b", "13:59", "22:00")], "overlap"),
        ([("a", "22:00", "06:00"), ("b", "05:00", "07:00")], "overlap"),
        ([("a", "06:00", "06:00"), ("b", "07:00", "08:00")], "overlap"),
        ([("a", "06:00", "14:00"), ("a", "14:00", "22:00")], "two shifts are called 'a'"),
        ([("a", "24:00", "06:00")], "24:00 is an end"),
        ([("a", "00:00", "24:00")], ""),
        ([("a", "22:00", "06:00"), ("b", "06:00", "22:00")], ""),
    ],
)
def test_shifts_that_overlap_are_refused(shifts: list[tuple[str, str, str]], words: str) -> None:
    fault = check_shifts([ShiftSettings(*each) for each in shifts])
    assert words in fault
    assert bool(words) == bool(fault)


def test_times_are_checked() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "a", "from": "6:00", "to": "14:00"}, ShiftSettings)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "a", "from": "25:00", "to": "14:00"}, ShiftSettings)

"""The report of a shift: what it says is what was stored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from shift_example import DEVICE, LAST_DAY, PARTS, write_shifts
from verdicts import make_verdict

from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.events.event import SystemEvent
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.part_counts import PartCounts
from vedette.runtime.evidence.reviews import Review, ReviewStore
from vedette.runtime.reports.reject_pictures import PictureRules
from vedette.runtime.reports.shift_data import read_shift
from vedette.runtime.reports.shift_page import render_shift
from vedette.runtime.reports.shift_report import ShiftReport, make_shift_report
from vedette.runtime.statistics.exact_interval import exact_interval


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, list[SystemEvent]]:
    settings, verdicts = write_shifts(tmp_path_factory.mktemp("line") / "config")
    store = ReviewStore(settings.state_folder)
    rejects = [each.id for each in verdicts if each.facts["verdict"] == "reject"]
    for number, event in enumerate(rejects[:10]):
        store.add(Review(event, "door", "false_alarm" if number < 4 else "right"))
    store.add(Review(rejects[10], "door", "label", label="dust"))
    store.add(Review(rejects[0], "door", "right"))  # changed one's mind
    warning = next(each.id for each in verdicts if each.facts["verdict"] == "warn")
    store.add(Review(warning, "door", "false_alarm"))
    return settings, verdicts


@pytest.fixture(scope="module")
def report(example: tuple[Config, list[SystemEvent]]) -> ShiftReport:
    return make_shift_report(read_shift(example[0]))


def test_the_numbers_are_those_of_the_events(report: ShiftReport, example: tuple[Config, list[SystemEvent]]) -> None:
    kinds = Counter(each.facts["verdict"] for each in example[1])
    total = report.numbers.total
    assert {name: getattr(total, name) for name in kinds} == kinds
    assert total.parts == PARTS
    assert total.yield_ == total.first_pass_yield == kinds["accept"] / PARTS
    assert report.yield_interval == exact_interval(kinds["accept"], PARTS)
    assert (report.numbers.day, report.numbers.shift) == (f"2026-11-{LAST_DAY}", "early")
    assert report.numbers.begins == f"2026-11-{LAST_DAY}T05:00:00.000Z"
    assert report.numbers.reasons == {"late": kinds["error"]}
    assert sum(each.parts for each in report.numbers.hours.values()) == PARTS
    assert len(report.numbers.hours) == 8


def test_pareto_of_rejects(report: ShiftReport, example: tuple[Config, list[SystemEvent]]) -> None:
    rejected = [each.facts for each in example[1] if each.facts["verdict"] == "reject"]
    labels = Counter(each["label"] for each in rejected)
    assert [(bar.name, bar.parts) for bar in report.labels] == labels.most_common()
    assert report.labels[-1].cumulative == 1
    regions = Counter(region["name"] for each in rejected for region in each["regions"])
    assert {bar.name: bar.parts for bar in report.regions} == regions
    assert report.regions[0].name == "rim"
    assert report.regions[0].share == 1  # every reject names it


def test_the_charts_find_what_changed_in_the_middle_of_the_shift(report: ShiftReport) -> None:
    (product,) = report.products
    assert (product.baseline.is_own, product.baseline.shifts) == (False, 4)
    assert product.baseline.share == pytest.approx(0.02, abs=0.005)
    assert len(product.begins) == len(product.p_chart.points) == 32
    assert product.ewma is not None
    assert not any(product.ewma.signals[:16])
    assert any(product.ewma.signals[16:])
    assert product.ewma.in_control_run_length > 100
    (score,) = report.scores
    assert score.trend is not None
    assert score.trend.is_shown
    assert score.trend.slope > 0
    assert score.reference == pytest.approx(0.3, abs=0.005)
    assert score.ewma is not None
    assert any(score.ewma.signals[16:])


def test_an_ordinary_shift_is_quiet(example: tuple[Config, list[SystemEvent]]) -> None:
    data = read_shift(example[0], f"2026-11-{LAST_DAY - 1}")
    (product,) = make_shift_report(data).products
    assert product.baseline.shifts == 3
    assert product.ewma is not None
    assert not any(product.ewma.signals)


def test_what_the_reviewers_changed(report: ShiftReport) -> None:
    reviews = report.reviews
    assert (reviews.reviewed, reviews.false_rejects) == (11, 3)
    assert reviews.interval == exact_interval(3, 11)
    assert (reviews.warnings_reviewed, reviews.warnings_good) == (1, 1)
    assert reviews.labels == {"dust": 1}


def test_the_page_is_self_contained(report: ShiftReport, example: tuple[Config, list[SystemEvent]]) -> None:
    page = render_shift(read_shift(example[0]), report, None).decode()
    assert "early, 2026-11-27" in page
    assert "2026-11-27 06:00 to 2026-11-27 14:00" in page
    assert page.count("<svg") == 4
    assert page.count("the report was made without them") == 20
    assert "11 of" in page
    for word in ("http:", "https:", "<script", "src="):
        assert word not in page


def test_the_first_shift_compares_with_itself_and_says_so(
    tmp_path: Path, example: tuple[Config, list[SystemEvent]]
) -> None:
    result = make_shift_report(read_shift(example[0], f"2026-11-{LAST_DAY - 4}"))
    assert result.products[0].baseline.is_own
    assert any("too few parts in earlier shifts" in note for note in result.notes)


def test_an_unknown_shift_is_told_with_those_that_are_there(example: tuple[Config, list[SystemEvent]]) -> None:
    with pytest.raises(ConfigProblem, match="no part was counted in the shift 2026-11-27 late") as problem:
        read_shift(example[0], "2026-11-27", "late")
    assert "2026-11-27 early" in problem.value.hint


def test_a_camera_without_an_outbox_and_one_without_parts(tmp_path: Path) -> None:
    settings = _empty(tmp_path)
    with pytest.raises(MachineProblem, match="no counters"):
        read_shift(settings)
    Outbox.from_config(settings).close()
    with pytest.raises(ConfigProblem, match="no part was counted"):
        read_shift(settings)


def test_parts_without_any_reject_and_two_products(tmp_path: Path) -> None:
    settings = _empty(tmp_path)
    opened = Outbox.from_config(settings)
    PartCounts.from_config(settings, opened)
    opened.put(*[make_verdict(1.8e9 + 20 * number, product="ab"[number % 2]) for number in range(100)])
    opened.close()
    data = read_shift(settings)
    result = make_shift_report(data)
    assert [each.product for each in result.products] == ["a", "b"]
    assert all(each.ewma is None for each in result.products)
    assert any("charts of their own" in note for note in result.notes)
    page = render_shift(data, result, PictureRules(settings))
    assert b"door" in page
    assert b"Rejected parts" not in page


def _empty(folder: Path) -> Config:
    (folder / "cameras").mkdir(parents=True)
    (folder / "vedette.toml").write_text(DEVICE)
    (folder / "cameras" / "door.toml").write_text('source = "file:x"\nbundle = "x"\n[[rules]]\nuse = "presence"\n')
    return load_config(folder, "door")

"""Attribute studies: the worked example of AIAG's manual, and what holds for every study."""

from __future__ import annotations

import pytest
from attribute_example import list_rows
from hypothesis import given
from hypothesis import strategies as st

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.statistics.attribute_study import Decision, StudyResult, analyze_study
from vedette.runtime.statistics.study_limits import StudyLimits, judge_share


def list_decisions() -> list[Decision]:
    return [Decision(part, name, trial, word == "1", truth == "1") for part, truth, name, trial, word in list_rows()]


@pytest.fixture(scope="module")
def example() -> StudyResult:
    return analyze_study(list_decisions())


def test_kappas_of_the_worked_example(example: StudyResult) -> None:
    """The manual's cross tabulations: A and B 44, 6, 3, 97; B and C 42, 5, 9, 94; A and C 43, 7, 8, 92."""
    assert [(each.first + each.second, round(each.kappa.value or 0, 2)) for each in example.pairs] == [
        ("AB", 0.86),
        ("AC", 0.78),
        ("BC", 0.79),
    ]
    tables = {
        "AB": _kappa_of(44, 6, 3, 97),
        "AC": _kappa_of(43, 7, 8, 92),
        "BC": _kappa_of(42, 5, 9, 94),
    }
    for each in example.pairs:
        assert each.kappa.value == pytest.approx(tables[each.first + each.second], abs=5e-4)
    references = {"A": _kappa_of(45, 5, 3, 97), "B": _kappa_of(45, 2, 3, 100), "C": _kappa_of(42, 9, 6, 93)}
    for result in example.appraisers:
        assert result.reference.value == pytest.approx(references[result.appraiser], abs=5e-4)
    assert [round(each.reference.value or 0, 2) for each in example.appraisers] == [0.88, 0.92, 0.77]


def _kappa_of(both_reject: int, first: int, second: int, both_accept: int) -> float:
    total = both_reject + first + second + both_accept
    observed = (both_reject + both_accept) / total
    rejects, others = both_reject + first, both_reject + second
    expected = (rejects * others + (total - rejects) * (total - others)) / total**2
    return (observed - expected) / (1 - expected)


def test_rates_of_the_worked_example(example: StudyResult) -> None:
    """The manual's tables: effectiveness 84 %, 90 %, 80 %; miss 6.3 %, 6.3 %, 12.5 %; false alarms 4.9, 2.0, 8.8 %."""
    a, b, c = example.appraisers
    assert [each.effectiveness.share for each in (a, b, c)] == [0.84, 0.90, 0.80]
    assert [each.miss.share for each in (a, b, c)] == [0.0625, 0.0625, 0.125]
    alarms = [each.false_alarm.share for each in (a, b, c)]
    assert alarms == pytest.approx([0.049, 0.020, 0.088], abs=5e-4)
    assert example.effectiveness.share == example.reproducibility.share == 0.78
    percent = [tuple(round(100 * limit) for limit in each.effectiveness.interval or ()) for each in (a, b, c, example)]
    assert percent == [(71, 93), (78, 97), (66, 90), (64, 88)]


def test_the_worked_example_is_judged_by_the_stated_limits(example: StudyResult) -> None:
    judged = [
        (each.effectiveness.judgement, each.miss.judgement, each.false_alarm.judgement) for each in example.appraisers
    ]
    assert judged == [
        ("marginal", "reject", "accept"),
        ("accept", "reject", "accept"),
        ("marginal", "reject", "marginal"),
    ]
    assert example.judgement == "reject"
    generous = StudyLimits(effectiveness=(0.5, 0.4), miss=(0.2, 0.3), false_alarm=(0.2, 0.3), kappa=(0.5, 0.4))
    assert analyze_study(list_decisions(), generous).judgement == "accept"


def test_limits_belong_to_the_better_judgement() -> None:
    assert judge_share(0.9, (0.9, 0.8)) == "accept"
    assert judge_share(0.8, (0.9, 0.8)) == "marginal"
    assert judge_share(0.79, (0.9, 0.8)) == "reject"
    assert judge_share(0.02, (0.02, 0.05)) == "accept"
    assert judge_share(0.051, (0.02, 0.05)) == "reject"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no decision"),
        ([Decision("1", "A", "1", True, True), Decision("1", "A", "1", False, True)], "decided twice"),
        ([Decision("1", "A", "1", True, True), Decision("1", "A", "2", True, False)], "two references"),
        (
            [
                Decision("1", "A", "1", True, True),
                Decision("2", "A", "1", True, True),
                Decision("1", "B", "1", True, True),
            ],
            "judged part 2 0 times",
        ),
    ],
)
def test_incomplete_studies_are_refused(rows: list[Decision], words: str) -> None:
    with pytest.raises(ConfigProblem, match=words):
        analyze_study(rows)


def test_a_perfect_gauge_is_accepted_and_its_interval_says_what_so_few_parts_show() -> None:
    rows = [Decision(str(part), "m", str(trial), part > 5, part > 5) for part in range(20) for trial in range(3)]
    result = analyze_study(rows)
    assert result.judgement == "accept"
    (only,) = result.appraisers
    assert only.reference.value == 1
    assert only.reference.interval is not None
    assert only.reference.interval[0] < 0.7
    assert only.miss.interval == (0.0, pytest.approx(0.459, abs=1e-3))  # 6 parts, however many looks
    assert any("even without any miss" in note for note in result.notes)


def test_good_parts_alone_leave_the_miss_rate_open() -> None:
    result = analyze_study(Decision(str(part), "m", str(trial), True, True) for part in range(20) for trial in range(2))
    assert result.miss.share is None
    assert result.appraisers[0].reference.value is None
    assert "no bad part: the miss rate cannot be judged" in result.notes


@given(st.lists(st.tuples(st.booleans(), st.lists(st.booleans(), min_size=4, max_size=4)), min_size=2, max_size=12))
def test_renaming_and_order_of_parts_change_nothing(parts: list[tuple[bool, list[bool]]]) -> None:
    def result(order: list[int]) -> StudyResult:
        rows = []
        for number in order:
            truth, words = parts[number]
            rows += [Decision(f"p{number}", "AB"[i // 2], str(i % 2), word, truth) for i, word in enumerate(words)]
        return analyze_study(rows)

    first, second = result(list(range(len(parts)))), result(list(reversed(range(len(parts)))))
    assert [each.reference.value for each in first.appraisers] == pytest.approx(
        [each.reference.value for each in second.appraisers]
    )
    assert first.miss == second.miss
    assert first.effectiveness.hits <= min(each.effectiveness.hits for each in first.appraisers)
    assert first.judgement == second.judgement

"""A new release is called better only where the interval says so, and never if it is worse somewhere."""

from __future__ import annotations

import numpy as np

from vedette.compress.evaluation.release_comparison import ComparedErrors, ReleaseComparison, compare_errors
from vedette.compress.evaluation.results import Measurement


def errors(fewer: int, more: int, both: int = 0, aside: bool = False, title: str = "false alarms") -> ComparedErrors:
    """Images on which the old one alone, the new one alone, and both are wrong; each a group of its own."""
    previous = np.array([True] * fewer + [False] * more + [True] * both + [False] * 50)
    new = np.array([False] * fewer + [True] * more + [True] * both + [False] * 50)
    return compare_errors(title, previous, new, list(range(len(previous))), aside)


def compare(*measures: ComparedErrors) -> ReleaseComparison:
    return ReleaseComparison(
        previous="weave:1:ab",
        previous_release=1,
        release=2,
        measures=measures,
        auroc_previous=0.9,
        auroc=0.95,
        auroc_difference=Measurement(0.05, (0.01, 0.09)),
        left_out=0,
        knows_images=True,
    )


def test_a_few_images_show_nothing() -> None:
    found = compare(errors(5, 0), errors(3, 1))
    assert found.outcome == "not shown"
    assert found.statement.startswith("It is not shown that the new release is better than release 1")
    assert compare(errors(0, 0)).outcome == "not shown"
    assert "1 group of images differs" in compare(errors(1, 0)).statement


def test_enough_images_show_it() -> None:
    assert compare(errors(20, 2), errors(1, 1)).outcome == "better"
    assert compare(errors(2, 20), errors(1, 1)).outcome == "worse"
    assert compare(errors(20, 2), errors(2, 20)).outcome == "mixed"
    assert "2 of 72 instead of 20" in compare(errors(20, 2)).statement


def test_equal_releases_are_rarely_called_better_or_worse() -> None:
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(80):
        measures = [errors(int(fewer := rng.binomial(30, 0.5)), 30 - fewer) for _ in range(4)]
        called += compare(*measures).outcome != "not shown"
    assert called <= 6  # 4 are expected


def test_a_group_counts_once() -> None:
    """Twenty pictures of one day are one group: they do not show that the next day is better, too."""
    previous, new = np.array([True] * 20), np.array([False] * 20)
    assert compare_errors("x", previous, new, ["day 1"] * 20, True).outcome == "not shown"
    assert compare_errors("x", previous, new, list(range(20)), True).outcome == "better"


def test_corrections_alone_are_not_enough_if_the_test_images_get_worse() -> None:
    aside = errors(20, 0, aside=True, title="kept aside")
    assert compare(errors(1, 1), aside).outcome == "better"
    worse = compare(errors(1, 3), aside)
    assert worse.outcome == "not shown"
    assert "more errors on the test images" in worse.statement


def test_json_has_both_releases_side_by_side() -> None:
    fields = compare(errors(20, 2, both=4)).to_json()
    (measure,) = fields["measures"]
    assert (measure["previous"], measure["new"], measure["fewer"], measure["more"]) == (24, 6, 20, 2)
    assert measure["outcome"] == fields["outcome"] == "better"
    assert measure["previous_rate_interval"][0] < 24 / 76 < measure["previous_rate_interval"][1]
    assert fields["auroc_difference_interval"] == (0.01, 0.09)

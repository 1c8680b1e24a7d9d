"""Doubtful boxes: where a detector disagrees with the labels."""

from __future__ import annotations

from vedette.compress.evaluation.label_doubts import find_label_doubts
from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.inference.prediction import Box, Prediction

LABELS = ("cat", "dog")
BOX, MOVED, ELSEWHERE = Box(0.1, 0.1, 0.5, 0.5), Box(0.22, 0.22, 0.62, 0.62), Box(0.7, 0.7, 0.9, 0.9)


def kinds(objects, detections):
    return [(each.kind, each.label, each.seen) for each in find_label_doubts([objects], [detections], LABELS)]


def test_a_box_of_another_class_is_swapped():
    assert kinds([AnnotatedObject(0, BOX)], [Prediction("dog", 0.8, BOX)]) == [("swapped", "cat", "dog")]


def test_a_box_that_is_also_seen_as_its_own_class_is_not_swapped():
    both = [Prediction("dog", 0.6, BOX), Prediction("cat", 0.5, BOX)]
    assert kinds([AnnotatedObject(0, BOX)], both) == []


def test_an_object_without_a_box_is_missing():
    found = [Prediction("cat", 0.9, BOX), Prediction("dog", 0.7, ELSEWHERE)]
    assert kinds([AnnotatedObject(0, BOX)], found) == [("missing", "dog", "dog")]
    assert kinds([], [Prediction("cat", 0.9, BOX)]) == [("missing", "cat", "cat")]


def test_weak_detections_raise_no_doubt():
    weak = [Prediction("dog", 0.2, BOX), Prediction("dog", 0.3, ELSEWHERE)]
    assert kinds([AnnotatedObject(0, BOX)], weak) == []


def test_a_box_beside_its_object_is_sloppy():
    assert kinds([AnnotatedObject(0, MOVED)], [Prediction("cat", 0.8, BOX)]) == [("sloppy", "cat", "cat")]
    assert kinds([AnnotatedObject(0, BOX)], [Prediction("cat", 0.8, BOX)]) == []


def test_crowds_are_not_judged():
    assert kinds([AnnotatedObject(0, BOX, crowd=True)], [Prediction("dog", 0.8, BOX)]) == []


def test_the_strongest_doubt_comes_first():
    objects = [[AnnotatedObject(0, BOX)], [AnnotatedObject(0, BOX)]]
    detections = [[Prediction("dog", 0.5, BOX)], [Prediction("dog", 0.9, BOX)]]
    assert [each.image for each in find_label_doubts(objects, detections, LABELS)] == [1, 0]

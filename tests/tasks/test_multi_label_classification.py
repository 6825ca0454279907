"""Several labels a text: how they are read, learnt, scored and decided, by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from edgedistill.data.dataset import TaskData
from edgedistill.errors import DataError
from edgedistill.tasks import task_of
from edgedistill.tasks.multi_label_classification import parse_labels

LABELS = task_of("multi-label-classification")


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (["joy", "fear"], ("joy", "fear")),
        ('["joy", "no fear"]', ("joy", "no fear")),
        ("['joy', 'no fear']", ("joy", "no fear")),
        ("joy, no fear", ("joy", "no fear")),
        ([1, 0], ("b", "a")),
        ([], ()),
        ("", ()),
        ("[]", ()),
    ],
)
def test_labels_are_a_list_or_a_string_with_one(value: object, labels: tuple[str, ...]) -> None:
    names = ["a", "b"] if value == [1, 0] else []
    assert parse_labels(value, names, "x.json, line 1") == labels


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "has the labels None; expected a list of names, \\[\\] where there are none"),
        (3, "has the labels 3; expected a list of names"),
        ([0, 1, 1], "has the label '1' twice; expected the name of each label that it has, once"),
        (["joy", None], "has no label"),
        ("[joy, fear]", "is not a list as JSON writes it"),
    ],
)
def test_what_is_not_a_list_of_labels_is_refused_with_its_place(value: object, says: str) -> None:
    with pytest.raises(DataError, match=f"x.json, line 1 .*{says}"):
        parse_labels(value, [], "x.json, line 1")


def test_rows_say_of_every_label_whether_they_have_it() -> None:
    rows = {
        "train": [("a", ("joy",)), ("b", ("fear", "joy")), ("c", ())],
        "validation": [("d", ())],
        "test": [("e", ("awe",))],
    }
    data = TaskData.from_rows(rows, "rows", "multi-label-classification")
    assert data.label_names == ("fear", "joy", "awe")  # one that train does not have comes last
    assert data.train.labels == ((0, 1, 0), (1, 1, 0), (0, 0, 0))
    assert data.validation.labels == ((0, 0, 0),)
    assert data.test.labels == ((0, 0, 1),)


def test_the_hard_loss_is_the_sum_of_each_labels() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    loss = LABELS.hard_loss(logits, torch.tensor([[0, 1], [1, 0]]))
    torch.testing.assert_close(loss, torch.tensor([2 * math.log(2), math.log(4 / 3) + math.log(2)]))


def test_the_soft_loss_by_hand_is_0_only_at_the_teachers_scores() -> None:
    teacher, temperature = torch.tensor([[math.log(9.0), -1.0]]), 2.0
    p, q = 0.75, 1 / (1 + math.exp(0.5))  # the sigmoids of log(9)/2 and of −1/2
    kl = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    kl += q * math.log(q / 0.5) + (1 - q) * math.log((1 - q) / 0.5)
    torch.testing.assert_close(LABELS.soft_loss(torch.zeros(1, 2), teacher, temperature), torch.tensor([4 * kl]))
    torch.testing.assert_close(LABELS.soft_loss(teacher, teacher, temperature), torch.zeros(1))


def test_f1_is_scikit_learns_over_decisions_and_over_the_labels_that_occur() -> None:
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(60, 7)), rng.random((60, 7)) < 0.3
    outputs[:, 6], labels[:, 6] = -1, False  # a label that neither rows nor decisions have
    scores = LABELS.metrics(outputs, labels.astype(int).tolist(), [])
    assert scores["micro_f1"] == pytest.approx(f1_score(labels, outputs > 0, average="micro"))
    assert scores["macro_f1"] == pytest.approx(f1_score(labels[:, :6], outputs[:, :6] > 0, average="macro"))
    assert list(scores) == ["micro_f1", "macro_f1"]
    assert LABELS.metrics(outputs[:1] * 0 - 1, [[0] * 7], []) == {"micro_f1": 0.0, "macro_f1": 0.0}
    values_of, examples = LABELS.resampled(outputs, labels.astype(int).tolist(), [], None)
    assert examples == 60
    assert values_of(np.arange(60)) == scores


def test_agreement_is_the_f1_of_the_decisions_where_the_teachers_are_right() -> None:
    ours, theirs = np.array([[1.0, 1.0, -1.0]]), np.array([[1.0, -1.0, -1.0]])
    assert LABELS.agreements(ours, theirs) == {"micro_f1_to_teacher": pytest.approx(2 / 3)}


def test_a_threshold_has_the_highest_f1_and_few_rows_change_none() -> None:
    scores = np.array([0.9, 0.8, 0.4, 0.35, 0.3, 0.2, 0.1, 0.05])
    has_label = np.array([1, 1, 1, 1, 1, 0, 0, 0])
    thresholds = LABELS.thresholds(np.stack([scores, scores], 1), np.stack([has_label, has_label * (scores > 0.38)], 1))
    assert thresholds == [pytest.approx(0.25), 0.5]  # the second has three rows


def test_of_thresholds_as_good_as_half_it_stays_half() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.65, 0.6, 0.2, 0.1])[:, None]
    assert LABELS.thresholds(scores, (scores > 0.5).astype(float)) == [0.5]


def test_word_counts_tell_labels_that_words_name() -> None:
    texts = [f"{'red ' * (i % 2)}{'blue ' * (i % 3 == 0)}thing" for i in range(60)]
    labels = [(i % 2, int(i % 3 == 0)) for i in range(60)]
    assert LABELS.word_count_score((texts, labels), (texts, labels), ["red", "blue"]) == 1.0


def test_a_new_head_begins_with_the_labels_shares() -> None:
    bias = LABELS.starting_bias([(1, 0), (1, 0), (0, 0), (1, 0)])
    assert bias == pytest.approx([math.log(3.5 / 1.5), math.log(0.5 / 4.5)])

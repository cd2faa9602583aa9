import pytest

from harness import metrics
from harness.report.figures import CAPTIONS, captions
from harness.report.words import METRICS, SECOND, opening, spoken
from harness.store.schema import SCORES


def test_every_headline_metric_has_a_title_and_one_beside_it():
    assert SECOND == SCORES
    assert {*SECOND, *SECOND.values(), *metrics.METRICS} == METRICS.keys()
    assert {*SECOND} == {*metrics.HEADLINES}


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("top1", "Top-1 and top-5; accuracy. Accuracy: nothing is more accurate."),
        ("mAP", "mAP and mAP (area); mAP. mAP: nothing has a higher mAP."),
        ("mIoU", "mIoU and pixel accuracy; mIoU. mIoU: nothing has a higher mIoU."),
    ],
)
def test_a_text_of_top_1_is_said_of_others(score, said):
    assert spoken("Top-1 and top-5; accuracy. Accuracy: nothing is more accurate.", score) == said


def test_how_sentences_begin():
    assert [opening(METRICS[name]) for name in ("top1", "mAP", "mIoU", "pixAcc")] == [
        *("Top-1", "mAP", "mIoU", "Pixel accuracy")
    ]


def test_captions_of_other_metrics_do_not_speak_of_top_1():
    assert captions("top1") == CAPTIONS
    for name, (heading, text) in captions("mIoU").items():
        assert name in CAPTIONS
        assert not {"top-1", "ccuracy"} & {word for word in ("top-1", "ccuracy") if word in heading + text}


def test_seconds_are_those_of_an_emulation():
    mark = "precision emulated: accuracy is that of the precision, speed is not"
    assert spoken(mark, "seconds") == "precision emulated: seconds are those of the emulation"

"""Losses and scores of segmentation: by hand, by torch, and by their second writing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem
from harness.parts.models import FCN, ResNet
from harness.tasks.detect import Found
from harness.tasks.segment import PixelCrossEntropy, Segment, cells, middles
from harness.tricks.binary_cross_entropy import BinaryCrossEntropy
from tests.kit import dense

TASK = Segment()
RNG = np.random.default_rng(0)
MASKS = [RNG.integers(-1, 3, (9, 12)), RNG.integers(-1, 3, (20, 8))]
FRAMES = torch.tensor([[9, 12, 9, 12, 0, 0], [10, 4, 20, 8, 1, 0]], dtype=torch.float32)
IMAGES = SimpleNamespace(
    classes=("road", "sky", "tree"),
    counts={"train": 4, "val": 2, "test": 2},
    truth=lambda split, place: MASKS[place].astype(np.int16),
    frames=lambda split: FRAMES.double().numpy(),
)


@pytest.mark.parametrize(("few", "many"), [(3, 12), (4, 9), (5, 5), (1, 7), (7, 3)])
def test_cells_are_brought_to_pixels_as_torch_does(few, many):
    x = torch.randn(1, 1, few, few, dtype=torch.float64)
    due = nn.functional.interpolate(x, (many, many), mode="bilinear", align_corners=False)[0, 0].numpy()
    assert cells(few, many) @ x[0, 0].numpy() @ cells(few, many).T == pytest.approx(due, abs=1e-12)
    assert cells(few, many).sum(1) == pytest.approx(np.ones(many))


@pytest.mark.parametrize("aux", [0.0, 0.5])
def test_the_loss_is_cross_entropy_over_labelled_pixels_and_its_reference_has_its_gradient(aux):
    y = torch.from_numpy(RNG.integers(-1, 3, (2, 8, 12)))
    z = torch.randn(2, 6, 2, 3, dtype=torch.float64, requires_grad=True)
    loss = PixelCrossEntropy(aux=aux)(z, y)
    parts = [
        nn.functional.cross_entropy(
            nn.functional.interpolate(part, (8, 12), mode="bilinear", align_corners=False), y, ignore_index=-1
        )
        for part in (z[:, :3], z[:, 3:])
    ]
    assert loss.item() == pytest.approx((parts[0] + aux * parts[1]).item())
    loss.backward()
    value, slope = PixelCrossEntropy(aux=aux).reference(y.numpy().astype(float), z.detach().numpy())
    assert value == pytest.approx(loss.item())
    assert slope == pytest.approx(z.grad.numpy(), abs=1e-12)


def test_a_pass_without_a_label_has_no_loss():
    z = torch.randn(1, 6, 2, 2, requires_grad=True)
    loss = PixelCrossEntropy()(z, torch.full((1, 8, 8), -1))
    loss.backward()
    assert loss.item() == 0
    assert not z.grad.any()


def marked(z, split="test"):
    marking, examiner = TASK.marking(IMAGES, split), TASK.examiner(IMAGES)
    marking.add(z, FRAMES)
    examiner.saw((torch.zeros(2, 3, 10, 12), FRAMES), z)
    scores, kept = marking.scores(split)
    return scores, kept, examiner


def test_an_image_is_judged_at_the_size_of_its_mask():
    """Padding is cut off before the answer is brought to the file's size."""
    z = torch.randn(2, 3, 5, 6)
    scores, kept, examiner = marked(z)
    grown = [nn.functional.interpolate(one[None], (10, 12), mode="bilinear", align_corners=False) for one in z]
    first = grown[0][:, :, :9, :12]
    second = nn.functional.interpolate(grown[1][:, :, :10, :4], (20, 8), mode="bilinear", align_corners=False)
    right, labelled, loss, ious = 0, 0, 0.0, np.zeros((3, 2))
    for logits, mask in ((first, MASKS[0]), (second, MASKS[1])):
        said, known = logits[0].argmax(0).numpy(), mask >= 0
        right, labelled = right + ((said == mask) & known).sum(), labelled + known.sum()
        log_p = logits[0].log_softmax(0).numpy()
        loss -= log_p[mask[known], *np.nonzero(known)].sum()
        for k in range(3):
            ious[k] += ((said == k) & (mask == k)).sum(), (((said == k) & known) | (mask == k)).sum()
    assert scores == {
        "test_loss": pytest.approx(loss / labelled, rel=1e-5),
        "mIoU": pytest.approx(100 * (ious[:, 0] / ious[:, 1]).mean()),
        "pixAcc": pytest.approx(100 * right / labelled),
    }
    assert [row["n"] for row in kept["by_class"].values()] == [
        sum(int((m == k).sum()) for m in MASKS) for k in range(3)
    ]
    due, otherwise = examiner.marked("test", kept)
    assert due == {name: pytest.approx(value, abs=1e-5) for name, value in scores.items()}
    assert otherwise == 0.0
    assert all(check.ok for check in examiner.checks(scores, kept))
    assert not any(check.ok for check in examiner.checks(scores | {"mIoU": scores["mIoU"] + 1}, kept))
    kept["by_class"]["sky"]["IoU"] += 1
    assert examiner.marked("test", kept)[1] == 1.0
    kept["by_class"]["sky"]["IoU"] -= 1
    kept["confusion"] = np.array(kept["confusion"]).T.tolist()
    assert examiner.marked("test", kept)[1] > 0


def test_held_out_scores_have_names_of_their_own():
    assert set(marked(torch.randn(2, 3, 5, 6), "val")[0]) == {"val_loss", "val_mIoU", "val_pixAcc"}
    assert {*TASK.watched, TASK.headline} < set(TASK.scores)


def test_training_images_are_scored_by_the_pixel_in_the_middle_of_a_cell_alike_in_both_writings():
    z, labels = torch.randn(3, 6, 2, 3), torch.from_numpy(RNG.integers(-1, 3, (3, 8, 12)))
    said, due = z[:, :3].argmax(1), labels[:, [2, 6]][:, :, [2, 6, 10]]
    assert torch.equal(middles(labels, said.shape[1:]), due)
    shares = [
        (((a == b) & (b >= 0)).sum() / max(1, int((b >= 0).sum()))).item() for a, b in zip(said, due, strict=True)
    ]
    assert TASK.hits(z, labels).item() == pytest.approx(sum(shares))
    assert TASK.right(TASK.guesses(z), labels).item() == pytest.approx(sum(shares))


def test_slots_of_classification_are_refused(tiny):
    spec = tiny.but(task=TASK, model=FCN(backbone=ResNet(blocks=(1, 1), width=4)))
    with pytest.raises(ValueError, match=r"^data=Digits: this task needs images with masks, as ADE20K has$"):
        TASK.check(spec)


@pytest.mark.parametrize(
    ("spec", "loss", "says"),
    [
        (
            dense.DETECTOR,
            BinaryCrossEntropy(),
            "loss=BinaryCrossEntropy is for images with one class each: leave it out",
        ),
        (
            dense.SEGMENTER,
            BinaryCrossEntropy(),
            "loss=BinaryCrossEntropy is for images with one class each: leave it out",
        ),
        (dense.SEGMENTER, Found(), "loss=Found is for images with boxes: leave it out"),
        (dense.BACKBONE, PixelCrossEntropy(), "loss=PixelCrossEntropy is for images with masks: leave it out"),
    ],
)
def test_a_loss_of_another_task_is_refused(spec, loss, says):
    spec.agree()
    with pytest.raises(Problem, match=says):
        spec.but(loss=loss).agree()


def test_a_loss_of_its_own_task_is_taken():
    dense.SEGMENTER.but(loss=PixelCrossEntropy(aux=0.2)).agree()
    dense.BACKBONE.but(loss=BinaryCrossEntropy()).agree()

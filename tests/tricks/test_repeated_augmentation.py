import numpy as np
import pytest
import torch
from timm.data.distributed_sampler import RepeatAugSampler

from harness.tricks.repeated_augmentation import Repeated, repeated_augmentation


@pytest.mark.parametrize(("n", "repeats"), [(20, 3), (512, 3), (21, 4), (5, 2)])
def test_the_order_is_timms(n, repeats, monkeypatch):
    """On one GPU, given the permutation that is drawn here; timm rounds an epoch down to a multiple of 256."""
    drawn = np.random.default_rng(7).permutation(n)
    monkeypatch.setattr(torch, "randperm", lambda length, generator: torch.from_numpy(drawn))
    theirs = list(RepeatAugSampler(range(n), 1, 0, num_repeats=repeats, selected_round=0, selected_ratio=1))
    ours = Repeated(repeats=repeats)
    assert ours.order(np.zeros(n), np.random.default_rng(7)).tolist() == theirs
    assert ours.reference(np.zeros(n), np.random.default_rng(7)).tolist() == theirs
    assert len(theirs) == n


def test_copies_of_an_image_are_augmented_by_draws_of_their_own(tiny, live):
    trained, trace = live(repeated_augmentation(tiny))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    labels, images = trace.fed[0][0], trace.images[0][0]
    triples = images[:297].view(99, 3, -1)
    assert all(len(set(three.tolist())) == 1 for three in labels[:297].view(99, 3))
    assert sum(not torch.equal(a, b) for a, b, _ in triples) > 50
    told = {row["what"]: row["seen"] for row in trained.result["evidence"] if row["part"] == "Repeated"}
    assert told.pop("of the first 596 labels, those of other images than drawn") == "0"
    assert told == {"images of 597 that the first epoch has": "199", "times that it has one, at most": "3"}


def test_once_is_no_repeat():
    with pytest.raises(ValueError, match="repeats"):
        Repeated(repeats=1)

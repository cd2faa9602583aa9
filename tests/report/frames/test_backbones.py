import math

import pytest

from harness.report import frames
from harness.report.findings.transfer import transferred
from harness.store import spec_hash
from tests.kit import transfers
from tests.kit.records import plan


def test_each_run_stands_beside_its_own_backbone_of_the_same_seed(store):
    transfers.fill(store)
    p = transfers.plan()
    both = frames.backbones(p, store, frames.runs(p, store))
    assert len(both) == 21
    for i, (name, (backbones, values)) in enumerate(transfers.LADDER.items()):
        own = both[both["place"] == i]
        assert own["seed"].tolist() == [0, 1, 2]
        assert own["backbone_value"].tolist() == pytest.approx(list(backbones))
        assert own["value"].tolist() == pytest.approx(list(values))
        assert set(own["backbone"]) == {spec_hash(transfers.backbone(name))}
    assert set(both["backbone_score"]) == {"top1"}


def test_a_study_of_classifiers_has_none(full):
    p = plan()
    every = frames.runs(p, full)
    assert frames.backbones(p, full, every) is None
    assert frames.beside_backbones(p, full, every) is every


def test_a_backbone_that_is_not_here_or_damaged_is_nan(store):
    transfers.fill(store)
    p, spec_id = transfers.plan(), spec_hash(transfers.backbone("cosine"))
    store.set_aside(spec_id, 0)
    (store.folder(spec_id, 1) / "result.json").write_text("{")
    every = frames.runs(p, store)
    both = frames.backbones(p, store, every)
    told = both.loc[both["place"] == 2, "backbone_value"].tolist()
    assert [math.isnan(value) for value in told] == [True, True, False]
    beside = frames.beside_backbones(p, store, every)
    assert beside.loc[beside["place"] == 1, "top1"].tolist() == [71.0, 72.0, 73.5]
    assert frames.headline(beside) == "mAP"


def test_of_rungs_that_share_a_backbone_each_has_it(store):
    transfers.fill(store, {name: transfers.LADDER[name] for name in ("baseline", "cosine")})
    p = transfers.plan(ladder={name: transfers.LADDER[name] for name in ("baseline", "cosine")})
    p["rungs"][1] |= {"id": p["rungs"][0]["id"], "name": "again"}
    both = frames.backbones(p, store, frames.runs(p, store))
    assert both.loc[both["place"] == 1, "backbone_value"].tolist() == [70.0, 71.0, 72.0]


def test_a_network_from_scratch_stands_on_none(store):
    """Of controls within a study: they would have taken the order from all the others."""
    ladder = {name: transfers.LADDER[name] for name in ("baseline", "efficient", "cosine")}
    transfers.fill(store, ladder)
    p = transfers.plan(ladder=ladder)
    scratch = transfers.resolved("scratch") | {"model": {"kind": "Onto", "backbone": {"kind": "ResNet", "width": 8}}}
    for seed in range(3):
        transfers.add(store, scratch, seed, transfers.result(60.0 + seed) | {"classes": 20})
    p["rungs"][1]["id"] = spec_hash(scratch)
    every = frames.runs(p, store)
    both = frames.backbones(p, store, every)
    assert set(both["place"]) == {0, 2}
    assert both["backbone_value"].notna().all()
    (section,) = transferred(every, both)
    assert section.lines[0].startswith("Over 2 rungs, top-1 of the backbones and mAP have no order in common")
    assert not any("not here" in line for line in section.lines)

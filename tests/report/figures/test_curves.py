import math

import numpy as np
import pandas as pd
import pytest

from harness.report import figures
from tests.kit.figures import STEPS, lines, runs_of, whole, with_epochs


def test_a_band_is_from_least_to_greatest_and_holds_its_mean():
    every, table, _ = runs_of(3)
    for axis, name in zip(figures.curves("s", every, table).axes, ("loss", "top1"), strict=True):
        means = lines(axis, "mean")
        assert len(means) == len(axis.collections) == 3
        for place, (mean, band) in enumerate(zip(means, axis.collections, strict=True)):
            told = np.array([[epoch[name] for epoch in run] for run in every.loc[every["place"] == place, "epochs"]])
            assert list(mean.get_xdata()) == [1, 2, 3, 4]
            assert mean.get_ydata() == pytest.approx(told.mean(0))
            x, y = band.get_paths()[0].vertices.T
            for epoch, low, high in zip((1, 2, 3, 4), told.min(0), told.max(0), strict=True):
                assert (y[x == epoch].min(), y[x == epoch].max()) == pytest.approx((low, high))


def test_the_best_epoch_is_in_the_frame_though_it_was_not_the_last():
    every, table, _ = runs_of(2)
    best = with_epochs(every, lambda e, place: {**e, "top1": 99.0 if (e["epoch"], place) == (1, 0) else e["top1"]})
    _, top1 = figures.curves("s", best, table).axes
    assert top1.get_ylim()[1] > 99


def test_a_run_that_diverged_keeps_its_last_accuracy_and_its_loss_ends():
    every, table, _ = runs_of(2, diverged={(1, 0)})
    loss, top1 = figures.curves("s", every, table).axes
    told = [[epoch["top1"] for epoch in run] for run in every.loc[every["place"] == 1, "epochs"]]
    expected = np.mean([[told[0][0], 10, 10, 10], *told[1:]], axis=0)
    assert lines(top1, "mean")[1].get_ydata() == pytest.approx(expected)
    assert [(list(m.get_xdata()), list(m.get_ydata())) for m in lines(top1, "diverged")] == [([2], [10.0])]
    assert np.isfinite(lines(loss, "mean")[1].get_ydata()).all()
    assert top1.get_ylim()[0] < 10


def test_where_the_test_set_was_not_measured_a_line_goes_straight_on():
    every, table, _ = runs_of(2)
    few = with_epochs(every, lambda e, place: {k: v for k, v in e.items() if k != "top1" or e["epoch"] in (0, 3)})
    for whole_line, line in zip(
        *(lines(figures.curves("s", own, table).axes[1], "mean") for own in (every, few)), strict=True
    ):
        first, last = (whole_line.get_ydata()[i] for i in (0, -1))
        assert line.get_ydata() == pytest.approx(np.linspace(first, last, 4))


def test_where_it_was_measured_once_there_is_a_point():
    every, table, _ = runs_of(2)
    once = with_epochs(every, lambda e, place: {k: v for k, v in e.items() if k != "top1" or e["epoch"] == 3})
    marks = [
        {line.get_marker() for line in lines(figures.curves("s", own, table).axes[1], "mean")} for own in (every, once)
    ]
    assert marks == [{"None"}, {"o"}]


def test_training_and_test_stand_beside_each_other():
    every, table, _ = runs_of(3)
    every = with_epochs(every, whole)
    figure = figures.curves("s", every, table)
    names = {"training loss": "loss", "test loss": "test_loss"}
    names |= {"training top-1 (%)": "train_top1", "test top-1 (%)": "top1"}
    assert [axis.get_ylabel() for axis in figure.axes] == list(names)
    at = {axis.get_ylabel(): axis.get_position() for axis in figure.axes}
    assert at["training loss"].x1 < at["test loss"].x0
    assert at["training loss"].y0 > at["training top-1 (%)"].y1
    for axis in figure.axes:
        for place, line in enumerate(lines(axis, "mean")):
            runs = every.loc[every["place"] == place, "epochs"]
            told = [[epoch[names[axis.get_ylabel()]] for epoch in run] for run in runs]
            assert line.get_ydata() == pytest.approx(np.mean(told, axis=0))
        assert {text.get_text() for text in axis.texts} == (
            set(figures.names(table)) if axis.get_ylabel().startswith("test") else set()
        )


def held_out(epoch, place):
    """An epoch of a run that holds images out: it measures these, and the test set at its end."""
    own = {"val_loss": 7.0 + place, "val_top1": epoch["top1"]}
    return {"epoch": epoch["epoch"], "loss": epoch["loss"], "train_top1": 50.0} | own


def test_images_held_out_are_in_the_place_of_the_test_set():
    every, table, _ = runs_of(2)
    held = with_epochs(every, held_out)
    figure = figures.curves("s", held, table)
    labels = ["training loss", "held-out loss", "training top-1 (%)", "held-out top-1 (%)"]
    assert [axis.get_ylabel() for axis in figure.axes] == labels
    assert [set(line.get_ydata()) for line in lines(figure.axes[1], "mean")] == [{7.0}, {8.0}]
    own = lines(figures.curves("s", every, table).axes[-1], "mean")
    for line, same in zip(lines(figure.axes[3], "mean"), own, strict=True):
        assert list(line.get_ydata()) == list(same.get_ydata())
    some = with_epochs(every, lambda epoch, place: held_out(epoch, place) if place else whole(epoch, place))
    labels = [axis.get_ylabel() for axis in figures.curves("s", some, table).axes]
    assert labels[1::2] == ["test or held-out loss", "test or held-out top-1 (%)"]


def test_a_run_stopped_early_keeps_its_last_accuracy_and_its_loss_ends():
    every, table, _ = runs_of(2, seeds=2)
    every.at[0, "epochs"] = every["epochs"][0][:2]
    loss, top1 = figures.curves("s", every, table).axes
    (short, full) = every["epochs"][0], every["epochs"][1]
    assert lines(loss, "mean")[0].get_ydata()[2:] == pytest.approx([epoch["loss"] for epoch in full[2:]])
    mean = [(short[-1]["top1"] + epoch["top1"]) / 2 for epoch in full[2:]]
    assert lines(top1, "mean")[0].get_ydata()[2:] == pytest.approx(mean)


def test_a_rung_that_has_no_finite_loss_has_no_name_beside_it():
    every, table, _ = runs_of(2)
    every = with_epochs(every, lambda epoch, place: epoch | {"test_loss": math.nan if place else 1.0})
    _, loss, top1 = figures.curves("s", every, table).axes
    assert [text.get_text() for text in loss.texts] == ["rung 0"]
    assert [text.get_text() for text in top1.texts] == ["rung 0", "rung 1"]


def test_no_mean_leaves_the_frame_and_one_epoch_is_no_curve():
    every, table, _ = runs_of(3)
    steep = with_epochs(every, lambda e, place: e | {"top1": 1.0 if e["epoch"] == 0 else 99.0})
    axis = figures.curves("s", steep, table).axes[-1]
    low, high = axis.get_ylim()
    assert all(low < min(line.get_ydata()) <= max(line.get_ydata()) < high for line in lines(axis, "mean"))
    assert axis.get_xlim() == pytest.approx((0.91, 4.09)), "an epoch 0 there is not"
    assert figures.curves("s", every.assign(epochs=[run[:1] for run in every["epochs"]]), table) is None


@pytest.mark.parametrize(
    ("kinds", "apart"),
    [
        ({}, [[0, 1, 2, 3]]),
        ({1: "mixup", 2: "mixup", 3: "mixup, distillation"}, [[0, 1, 2], [3]]),  # 1, 2 and 2.2, then 900
        (
            {0: "distillation", 1: "mixup", 2: "mixup", 3: "mixup"},
            [[0, 1, 2, 3]],
        ),  # 1 is near the median of 2, 2.2, 900
        ({0: "distillation", 3: "mixup"}, [[0, 1, 2], [3]]),
    ],
)
def test_losses_of_another_kind_and_scale_stand_apart(kinds, apart):
    lines = {place: pd.DataFrame([[9.0], [end]], index=[1, 2]) for place, end in enumerate((1.0, 2.0, 2.2, 900.0))}
    assert figures.scales(lines, kinds) == apart


def test_a_loss_of_a_thousand_has_a_panel_of_its_own():
    every, table, _ = runs_of(3)
    loud = with_epochs(every, lambda e, place: e | {"loss": 900.0 + e["epoch"] if place == 2 else 1.0 + place})
    first, second, _ = figures.curves("s", loud, table, {2: "distillation"}).axes
    assert [first.get_ylabel(), second.get_ylabel()] == ["training loss, rung 0, rung 1", "training loss, rung 2"]
    assert [len(lines(axis, "mean")) for axis in (first, second)] == [2, 1]
    assert first.get_ylim()[1] < 3


def test_records_without_epochs_or_rates_have_no_such_figure():
    every, table, _ = runs_of(2)
    assert figures.rates("s", every.assign(rates=None), table) is None
    assert figures.curves("s", every.assign(epochs=[[{}]] * len(every)), table) is None


def test_rungs_of_one_schedule_share_a_line():
    every, table, _ = runs_of(9)
    figure = figures.rates("s", every, table)
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert [line.get_ydata()[0] for line in drawn] == [0.1, 0.2]
    assert list(drawn[0].get_xdata()) == pytest.approx(np.arange(40) / STEPS)
    told = [label.get_text().split("\n") for label in figure.axes[0].get_legend().get_texts()]
    assert [[name.strip() for name in names] for names in told] == [
        ["rung 0", "rung 1"],
        ["rung 2", "rung 3", "rung 4", "rung 5", "and 3 more"],
    ]

"""Free scores: the student that hides nothing, what is measured on it, and what notebook 08 says of it."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from rdcore.distill.rankdistil import POOL, RankDistilSettings
from studies.common import style
from studies.common.profiles import PROFILES
from studies.rankdistil import free_scores

SMOKE = free_scores.size_of("smoke")
pytestmark = pytest.mark.usefixtures("one_thread")


def test_scores_are_what_the_model_says():
    scores = torch.randn(3, 5)
    model = free_scores.FreeScores(scores)
    context = model.encode(free_scores._instances(3, 5).queries[torch.tensor([2, 0])])
    assert torch.equal(model.score_all(context), scores[[2, 0]])
    assert model.score(context, torch.tensor([[4, 1], [0, 0]])).tolist() == [
        [scores[2, 4].item(), scores[2, 1].item()], [scores[0, 0].item()] * 2,
    ]  # fmt: skip
    assert torch.equal(model.score(context, torch.tensor([3, 1])), scores[[2, 0]][:, [3, 1]])


def test_agreement_worked_out_by_hand():
    """Teacher: items 0, 1, 2 in this order. The first student has items 2, 0, 3 on top, and 1 behind item 4: two of three,
    one of the three pairs (0, 1) in order and (1, 2), (0, 2) not, and both other items above item 1."""
    teacher = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]] * 2)
    student = torch.tensor([[4.0, 1.0, 5.0, 3.0, 2.0], [9.0, 8.0, 7.0, 0.0, 0.0]])
    found = free_scores.agreement(student, teacher, 3)
    assert found["overlap"].tolist() == pytest.approx([2 / 3, 1])
    assert found["order"].tolist() == pytest.approx([-1 / 3, 1])
    assert found["above"].tolist() == [1, 0]


@pytest.mark.parametrize("label", free_scores.LOSSES)
def test_every_loss_brings_the_teachers_top_to_the_top(label):
    settings = replace(free_scores.LOSSES[label], p=4)
    teacher, start = free_scores.teachers(3, 20, seed=2), free_scores.starts(3, 20, seed=2)
    kept = free_scores.learn_whole(settings, teacher, start, 200, seed=2)
    assert list(kept) == [0, 10, 200] and torch.equal(kept[0], start)
    whole, drawn = kept[200], free_scores.learn(replace(settings, m=8), teacher, start, 60, seed=2)
    assert drawn.shape == start.shape
    before = free_scores.agreement(start, teacher, 4).mean()
    for scores in (whole, drawn):
        after = free_scores.agreement(scores, teacher, 4).mean()
        assert after["overlap"] > 0.9 > 0.5 > before["overlap"] and after["above"] < 0.05
    assert free_scores.agreement(whole, teacher, 4)["order"].mean() > 0.8


def test_what_is_learnt_and_drawn_depends_on_the_seed_alone():
    settings = RankDistilSettings(p=4, m=8)
    teacher, start = free_scores.teachers(2, 20, seed=1), free_scores.starts(2, 20, seed=1)
    one, same, other = (free_scores.learn(settings, teacher, start, 5, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert (teacher.diff(dim=1) <= 0).all()


def test_samples_are_compared_with_all_negatives():
    table = free_scores.of_samples(["C, exact order", "B, order", "P, order"], SMOKE, 10, seed=1).set_index("loss")
    assert len(table) == 3 * len(SMOKE.ms)
    away = ((table["share"] - 1) / table["share error"]).abs()
    assert away.drop("C, exact order").max() < 4
    coupled = table.loc["C, exact order"]
    assert (coupled["share"] < 0.9).all() and coupled["share"].is_monotonic_increasing
    assert coupled["bias"].is_monotonic_decreasing and (table["bias"] < table["gradient"]).all()
    everything = replace(SMOKE, ms=(SMOKE.items - 10,), draws=3)
    exact = free_scores.of_samples(["C, exact order", "B, order"], everything, 10, seed=1)
    assert exact["share"].tolist() == pytest.approx([1, 1]) and exact["gradient"].max() < 1e-5


@pytest.mark.parametrize("size", [free_scores.size_of(name) for name in PROFILES], ids=list(PROFILES))
def test_no_plan_asks_for_more_items_than_there_are(size):
    for tried in (*free_scores.over_m(size, 10).values(), *free_scores.over_p(size, size.m).values()):
        assert len(tried) > 1
        for settings in tried:
            assert settings.p + settings.m * (POOL if settings.negatives == "mined" else 1) <= size.items


def test_a_sweep_has_a_row_a_setting_and_its_picture_a_line_a_label():
    size = replace(SMOKE, lists=2, budget=3)
    plan = free_scores.over_m(size, 4)
    table = free_scores.sweep(plan, size, 4, seed=1)
    assert len(table) == 1 + sum(map(len, plan.values())) and table["loss"].iloc[0] == "start"
    assert np.isfinite(table[["overlap", "order", "overlap error"]].to_numpy(dtype=float)).all()
    fig = free_scores.sweep_curves(table, "m", 4)
    assert [text.get_text() for text in fig.legends[0].texts] == ["start", *plan]
    assert [tick.get_text() for tick in fig.axes[0].get_xticklabels()] == ["2", "5", "10"]
    plt.close(fig)


def test_a_row_of_a_sweep_is_mean_and_standard_error_over_its_lists():
    size, settings = replace(SMOKE, lists=4, budget=3), replace(free_scores.LOSSES["B, order"], p=4, m=5)
    table = free_scores.sweep({"B, order": [settings]}, size, 4, seed=1).set_index("loss")
    teacher, start = free_scores.teachers(4, size.items, 1), free_scores.starts(4, size.items, 1)
    assert teacher.std() == pytest.approx(2, rel=0.2) and start.std() == pytest.approx(1, rel=0.2)
    for label, scores in {"start": start, "B, order": free_scores.learn(settings, teacher, start, 3, 1)}.items():
        found = free_scores.agreement(scores, teacher, 4)
        for name, values in found.items():
            assert table.loc[label, name] == pytest.approx(values.mean(), rel=1e-5)
            assert table.loc[label, f"{name} error"] == pytest.approx(np.std(values, ddof=1) / 2, rel=1e-5), "of four lists"
    assert table.loc["B, order", ["p", "m"]].tolist() == [4, 5] and table["above error"].max() > 0


def test_the_error_of_a_sampled_loss_falls_with_the_root_of_the_draws():
    few, many = (free_scores.of_samples(["B, order"], replace(SMOKE, ms=(5,), draws=draws), 10, seed=1)["share error"].item()
                 for draws in (200, 1800))  # fmt: skip
    assert 2 < few / many < 4.5, "nine times as many draws: a third"


def test_ranks_by_the_student_stand_over_the_teachers():
    own = torch.tensor([0.3, 0.9, 0.1, 0.5])
    fig = free_scores.rank_panels(dict.fromkeys(free_scores.LOSSES, own), 1)
    diagonal, top, rest = fig.axes[0].lines[:3]
    assert [line.get_xdata().tolist() for line in (top, rest)] == [[1], [2, 3, 4]]
    assert [line.get_ydata().tolist() for line in (top, rest)] == [[3], [1, 4, 2]]
    plt.close(fig)


def test_pictures_have_titles_a_legend_for_every_line_and_room_for_their_labels():
    style.use_style()
    teacher, start = free_scores.teachers(1, 6, seed=1), free_scores.starts(1, 6, seed=1)
    learnt = {name: {0: start[0], 5: start[0], 100: teacher[0]} for name in free_scores.LOSSES}
    table = free_scores.of_samples(["B, order"], replace(SMOKE, draws=3), 10, seed=1)
    small = replace(SMOKE, lists=2, budget=2)
    swept = free_scores.sweep(free_scores.over_p(small, 5), small, 10, seed=1)
    scores = free_scores.score_panels(teacher[0], learnt, 2)
    assert [text.get_text() for text in scores.legends[0].texts] == [
        "teacher", "student at the start", "student after 5 steps", "student after 100 steps", "behind the teacher's top 2",
        "level 0 of B",
    ]  # fmt: skip
    drawn = (
        scores, free_scores.rank_panels({name: start[0] for name in free_scores.LOSSES}, 2), free_scores.sample_curves(table),
        free_scores.sweep_curves(swept, "p", 10),
    )  # fmt: skip
    for fig in drawn:
        fig.canvas.draw()
        for ax in fig.axes:
            title, label, panel = (part.get_window_extent() for part in (ax.title, ax.yaxis.label, ax))
            assert ax.get_title() and title.width <= panel.width and label.height <= panel.height, ax.get_title()
        plt.close(fig)

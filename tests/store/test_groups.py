"""Groups of users and of items: by hand, against a slow loop, and as pictures."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from rdcore import data, datasets
from rdcore.eval import metrics, significance
from rdcore.models import CaserSettings, PopularitySettings
from rdcore.store import groups
from studies.common import item_groups
from studies.common.activity import by_activity
from studies.rd import result_plots


@pytest.fixture(scope="module")
def stage():
    return data.stage(datasets.load("synthetic", n_users=60, n_items=90), "F")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return CaserSettings(dim=6).build(60, 90)


def test_groups_by_hand() -> None:
    np.testing.assert_array_equal(groups.quantile_groups([9, 1, 5, 1, 7, 6], 3), [2, 0, 1, 0, 2, 1])
    # Equal values stay together: of ten users, five have 3 items, which is where both of two groups would end.
    np.testing.assert_array_equal(groups.quantile_groups([3, 3, 3, 3, 3, 1, 1, 8, 8, 8], 2), [0] * 5 + [0] * 2 + [1] * 3)
    # A value that outweighs a group swallows its neighbour; numbers have no holes.
    np.testing.assert_array_equal(groups.quantile_groups([1, 2, 2, 2, 2, 2, 2, 2, 2, 3], 5), [0] + [1] * 8 + [2])
    # By weight: the items with 8 and 6 interactions hold 14 of 20.
    np.testing.assert_array_equal(groups.quantile_groups([8, 1, 2, 6, 3, 0], 2, [8, 1, 2, 6, 3, 0]), [1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(groups.quantile_groups([4, 4], 3), [0, 0])
    # What weighs nothing makes no group of its own, also behind all others.
    np.testing.assert_array_equal(groups.quantile_groups([1, 2, 9], 2, [3, 3, 0]), [0, 1, 1])
    for asked, weights in ((0, None), (2, [0, 0])):
        with pytest.raises(ValueError, match="nothing to divide"):
            groups.quantile_groups([1, 2], asked, weights)


@pytest.mark.parametrize("weighted", [False, True])
def test_groups_ascend_hold_everybody_and_are_about_equal(weighted: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(1, 400, 5000)
    weights = values if weighted else np.ones_like(values)
    group = groups.quantile_groups(values, 5, values if weighted else None)
    assert group.shape == values.shape and set(group.tolist()) == set(range(5))
    for number in range(4):
        assert values[group == number].max() < values[group == number + 1].min()
    share = np.bincount(group, weights) / weights.sum()
    assert np.abs(share - 0.2).max() < 0.01


def test_means_by_activity_by_hand() -> None:
    activity = np.array([10, 30, 10, 30, 20, 20, 99])
    b = np.zeros((2, 7))
    a = np.array([[1.0, 5, 3, 7, 0, 2, 0], [3.0, 5, 3, 9, 0, 4, 0]])
    a[:, 6] = b[:, 6] = np.nan  # not judged: in no group, though the busiest
    found = by_activity(a, b, activity, n_groups=3)
    assert list(found) == ["10", "20", "30"]
    assert [c.difference for c in found.values()] == [2.5, 1.5, 6.5]
    assert [c.n_users for c in found.values()] == [2, 2, 2] and all(c.n_seeds == 2 for c in found.values())
    two = by_activity(a, b, activity, n_groups=2)
    assert list(two) == ["10", "20-30"]
    assert sum(c.n_users for c in two.values()) == 6, "every judged user once"
    with pytest.raises(ValueError, match="7 users, metrics of 3"):
        by_activity(a[:, :3], b[:, :3], activity)


def test_the_groups_make_up_the_whole_difference() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 3, 500))
    found = by_activity(a, b, rng.integers(5, 80, 500))
    users = sum(c.n_users for c in found.values())
    assert users == 500 and len(found) == 5
    assert sum(c.n_users * c.difference for c in found.values()) / users == pytest.approx((a - b).mean())


def slowly(model, stage, n: int, n_groups: int) -> dict:
    """Every user's list sorted whole, every held-out item looked up in it."""
    counts = stage.fit.item_counts()
    group = groups.quantile_groups(counts, n_groups, counts)
    found, held_out = np.zeros(group.max() + 1, int), np.zeros(group.max() + 1, int)
    model.eval()
    for _, asked, _ in metrics.user_blocks(stage, "cpu", 1):
        user = int(asked.user)
        with torch.no_grad():
            scores = model.score_all(model.encode(asked))[0]
        had = set(stage.fit.items[stage.fit.offsets[user] : stage.fit.offsets[user + 1]].tolist())
        unseen = [item for item in range(stage.fit.n_items) if item not in had]
        best = sorted(unseen, key=lambda item: -float(scores[item]))[:n]
        for item in stage.judge.items[stage.judge.offsets[user] : stage.judge.offsets[user + 1]].tolist():
            held_out[group[item]] += 1
            found[group[item]] += item in best
    return {"found": found.tolist(), "held_out": held_out.tolist()}


@pytest.mark.parametrize(("n", "n_groups"), [(10, 5), (3, 2), (3, 90)])
def test_items_found_are_those_of_a_slow_loop(model, stage, n: int, n_groups: int) -> None:
    model.train()
    found = groups.by_item_popularity(model, stage, n=n, n_groups=n_groups, block=7)
    assert model.training, "left as it was"
    expected = slowly(model, stage, n, n_groups)
    assert found["found"] == expected["found"] and found["held_out"] == expected["held_out"]
    assert sum(found["found"]) > 0 and len(set(found["recall"])) > 1, "the test would see a mix-up"
    shares = [hit / out if out else None for hit, out in zip(found["found"], found["held_out"], strict=True)]
    assert found["recall"] == shares and (None in shares) == (n_groups == 90), "of so many groups one holds nothing"


def test_hits_are_those_of_precision_and_groups_hold_every_item(model, stage) -> None:
    users = metrics.evaluate(model, stage)
    found = groups.by_item_popularity(model, stage)
    assert sum(found["found"]) == round(10 * np.nansum(users["P@10"]))
    assert sum(found["held_out"]) == len(stage.judge) and sum(found["items"]) == stage.fit.n_items
    assert sum(found["interactions"]) == len(stage.fit) and found["n"] == 10
    assert all(most < least for most, least in zip(found["most"], found["least"][1:], strict=False))
    counts = stage.fit.item_counts()
    assert (found["least"][0], found["most"][-1]) == (counts.min(), counts.max())
    assert json.loads(json.dumps(found, allow_nan=False)) == found, "plain JSON"


def test_a_tie_counts_against_the_held_out_item(stage) -> None:
    """POP gives equal scores to equally popular items; hits are still those of P@10."""
    pop = PopularitySettings().fit(stage.fit)
    users = metrics.popularity(stage)
    assert sum(groups.by_item_popularity(pop, stage)["found"]) == round(10 * np.nansum(users["P@10"]))


def test_what_a_record_keeps_is_read_and_put_in_a_table(tmp_path) -> None:
    one = {"n": 10, "least": [0, 5], "most": [4, 5], "items": [30, 2], "interactions": [40, 10], "held_out": [8, 0],
           "found": [2, 0], "recall": [0.25, None]}  # fmt: skip
    other = one | {"found": [4, 0], "recall": [0.5, None]}
    records = {}
    for seed, kept in ((1, one), (2, None), (3, other)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if kept:
            (folder / "groups.json").write_text(json.dumps(kept))
        records[seed] = SimpleNamespace(record=SimpleNamespace(folder=folder))
    runs = SimpleNamespace(by_role={"S": records, "T": {2: records[2]}}, seeds=lambda role: sorted(runs.by_role.get(role, {})))
    found = item_groups.collect(runs, ["T", "S", "RD-hybrid"], item_groups.recorded)
    assert found == {"S": [one, other]}, "older records do not have it"
    assert item_groups.recall(one) == {"0-4": 0.25, "5": pytest.approx(np.nan, nan_ok=True)}
    table = item_groups.popularity_table({"here": found})
    assert table["S"].iloc[0] == 0.375 and np.isnan(table["S"].iloc[1]) and list(table["items"]) == [30, 2]
    assert item_groups.popularity_table({}).empty


# ---------------------------------------------------------------------------------------------------------------- pictures


@pytest.fixture
def compared():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 60))
    arrays = (a + 0.1, b)
    yield arrays, significance.compare(*arrays)
    plt.close("all")


def legend(fig) -> list[str]:
    return [text.get_text() for text in fig.legends[0].texts]


def test_margins_are_drawn_left_of_zero_and_only_where_there_is_one(compared) -> None:
    _, c = compared
    fig = result_plots.margins({"one": {"with": (c, c, 0.002)}, "other": {"without": (None, c, None)}})
    drawn = [[line.get_xdata() for line in ax.lines if line.get_label() == "minus the margin"] for ax in fig.axes]
    assert [[list(x) for x in lines] for lines in drawn] == [[[-0.002, -0.002]], []]
    spans = [[segment[:, 0].tolist() for bars in ax.collections for segment in bars.get_segments()] for ax in fig.axes]
    assert [len(each) for each in spans] == [2, 1]
    assert all(span == pytest.approx([c.low, c.high]) for each in spans for span in each)
    assert set(legend(fig)) == {"RD - T", "S - T", "minus the margin", "as good as T"}


def test_groups_are_drawn_with_their_sizes(compared) -> None:
    _, c = compared
    fig = result_plots.by_activity({"x": {"T": {"1-5": c, "6-9": c}, "RD-hybrid": {"1-5": c, "6-9": c}}})
    assert [tick.get_text() for tick in fig.axes[0].get_xticklabels()] == ["1-5\n(60)", "6-9\n(60)"]
    assert legend(fig) == ["T - S", "RD - S"]
    kept = {"n": 7, "least": [0, 5], "most": [4, 5], "recall": [0.25, 0.5]}
    fig = result_plots.by_popularity({"x": {"S": [kept, kept | {"recall": [0.75, None]}], "T": [kept]}})
    ax = fig.axes[0]
    assert ax.lines[0].get_ydata()[0] == 0.5 and list(ax.lines[2].get_ydata()) == [0.25, 0.5]
    assert "top 7" in ax.get_ylabel() and legend(fig) == ["S", "T"]

"""Evaluation against a slow loop over users and sorted lists."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rdcore.data import Interactions, Stage, stage
from rdcore.data.queries import final_queries
from rdcore.datasets import synthetic
from rdcore.eval.metrics import evaluate, popularity
from rdcore.models import Caser, CaserSettings, Model
from rdcore.store.agreement import agreement


@pytest.fixture(scope="module")
def data() -> Stage:
    return stage(synthetic.generate(n_users=23, n_items=40, min_length=8, max_length=20), "F")


def caser(data: Stage, seed=0) -> Caser:
    generator = torch.Generator().manual_seed(seed)
    model = CaserSettings(dim=4).build(data.fit.n_users, data.fit.n_items)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
        model.item.weight[data.fit.n_items] = 0
    return model


def own(part: Interactions, user: int) -> list[int]:
    return part.items[part.offsets[user] : part.offsets[user + 1]].tolist()


def scores_of(model, data: Stage) -> list[list[float]]:
    """Of all items for each user, from his last five items alone, one user at a time."""
    model.eval()
    found = []
    for user in range(data.fit.n_users):
        history = ([data.fit.n_items] * 5 + own(data.fit, user))[-5:]
        with torch.no_grad():
            context = model.encode_history(torch.tensor([user]), torch.tensor([history]))
            found.append(model.score_all(context)[0].tolist())
    return found


def slow_metrics(scores: list[list[float]], data: Stage) -> dict[str, list[float]]:
    """The official evaluation in words: sort what the user has not seen, walk down the list. Ties: targets last."""
    found = {name: [] for name in ("AP", "P@5", "R@10", "HR@3", "MRR", "nDCG@5", "nDCG@10-standard")}
    for user, row in enumerate(scores):
        wanted, seen = set(own(data.judge, user)), set(own(data.fit, user))
        if not wanted:
            for values in found.values():
                values.append(math.nan)
            continue
        ranking = sorted(set(range(len(row))) - seen, key=lambda item: (-row[item], item in wanted))
        hits = [item in wanted for item in ranking]
        gains = [hit / math.log2(place + 2) for place, hit in enumerate(hits)]
        ideal = [1 / math.log2(place + 2) for place in range(len(wanted))]
        precision = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
        k = min(len(wanted), 5)
        found["AP"].append(sum(precision) / len(wanted))
        found["P@5"].append(sum(hits[:5]) / 5)
        found["R@10"].append(sum(hits[:10]) / len(wanted))
        found["HR@3"].append(float(any(hits[:3])))
        found["MRR"].append(1 / (hits.index(True) + 1))
        found["nDCG@5"].append(sum(gains[:k]) / sum(ideal[:k]))
        found["nDCG@10-standard"].append(sum(gains[:10]) / sum(ideal[:10]))
    return found


@pytest.mark.parametrize("block", [1, 7, 512])
def test_every_users_metrics_equal_the_slow_loop_for_any_block(data, block):
    model = caser(data)
    slow, users = slow_metrics(scores_of(model, data), data), evaluate(model, data, block=block)
    for name, values in slow.items():
        np.testing.assert_allclose(users[name], values, rtol=1e-12, err_msg=name)
    assert np.std(slow["AP"]) > 0.01  # the users differ, so that a mix-up of rows would show


def test_stage_v_asks_behind_the_training_items():
    whole = synthetic.generate(n_users=15, n_items=40, min_length=10, max_length=20)
    choose = stage(whole, "V")
    model = caser(choose)
    slow = slow_metrics(scores_of(model, choose), choose)
    np.testing.assert_allclose(evaluate(model, choose)["AP"], slow["AP"], rtol=1e-12)
    last = final_queries(choose.fit).history(1)[:, 0].tolist()
    assert last == [own(choose.fit, user)[-1] for user in range(15)] != [own(whole, user)[-1] for user in range(15)]


def test_users_without_a_held_out_item_are_nan_and_disturb_nobody(data):
    rows = data.judge.users() % 3 != 1
    fewer = Stage("F", data.fit, data.judge.select(rows))
    model = caser(data)
    whole, some = evaluate(model, data, block=4)["AP"], evaluate(model, fewer, block=4)["AP"]
    left_out = np.arange(len(whole)) % 3 == 1
    assert np.isnan(some[left_out]).all()
    np.testing.assert_array_equal(some[~left_out], whole[~left_out])


def test_a_user_who_has_every_item_hinders_no_judgement(data):
    """Nothing is drawn here, and his ranking is empty."""
    items, counts = np.concatenate([np.arange(40), data.fit.items]), np.concatenate([[40], data.fit.counts()])
    fit = Interactions("one more", items, np.concatenate([[0], np.cumsum(counts)]), 40)
    judge = Interactions("one more", data.judge.items, np.concatenate([[0], data.judge.offsets]), 40)
    found = popularity(Stage("F", fit, judge))["AP"]
    assert np.isnan(found[0]) and np.isfinite(found[1:]).all()


@pytest.mark.parametrize("training", [True, False])
def test_judging_leaves_the_model_as_it_was_and_drops_nothing(data, training):
    model, quiet = caser(data).train(training), caser(data).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    users = evaluate(model, data)
    agreement(model, quiet, data)
    assert model.training is training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    np.testing.assert_array_equal(users["AP"], evaluate(quiet, data)["AP"])


def test_popularity_ranks_by_rows_in_what_was_fitted(data):
    counts = np.bincount(data.fit.items, minlength=data.fit.n_items).tolist()
    slow = slow_metrics([counts] * data.fit.n_users, data)
    np.testing.assert_allclose(popularity(data)["AP"], slow["AP"], rtol=1e-12)


# Agreement ------------------------------------------------------------------------------------------------------------


def test_a_model_agrees_with_itself_completely(data):
    model = caser(data)
    assert agreement(model, model, data, n=5, depth=12) == {"overlap@5": 1.0, "kendall@12": 1.0}


def test_a_model_that_ranks_the_other_way_round_agrees_in_nothing(data):
    teacher, student = caser(data), caser(data)
    with torch.no_grad():
        for parameter in (student.item_factors.weight, student.item_bias):
            parameter.neg_()
    assert agreement(student, teacher, data, n=5, depth=12) == {"overlap@5": 0.0, "kendall@12": -1.0}


def test_agreement_equals_sets_and_scipys_tau_on_the_teachers_list(data):
    student, teacher = caser(data, 1), caser(data, 2)
    n, depth, overlaps, taus = 6, 10, [], []
    for user, (own_scores, other) in enumerate(zip(scores_of(student, data), scores_of(teacher, data), strict=True)):
        unseen = set(range(data.fit.n_items)) - set(own(data.fit, user))
        by_student, by_teacher = (sorted(unseen, key=lambda i, s=s: -s[i]) for s in (own_scores, other))
        overlaps.append(len(set(by_student[:n]) & set(by_teacher[:n])) / n)
        top = by_teacher[:depth]
        taus.append(stats.kendalltau([own_scores[i] for i in top], [other[i] for i in top]).statistic)
    found = agreement(student, teacher, data, n=n, depth=depth)
    assert found == pytest.approx({f"overlap@{n}": np.mean(overlaps), f"kendall@{depth}": np.mean(taus)}, rel=1e-9)
    assert 0 < found[f"overlap@{n}"] < 1


class Known(Model):
    """A teacher that names 20 items, and gives all others the score -inf."""

    n_items, window = 100, 0

    def encode(self, queries):
        return queries.user[:, None]

    def score_all(self, context):
        return torch.arange(100.0).flip(0).where(torch.arange(100) < 20, -torch.inf).repeat(len(context), 1)


def test_agreement_is_over_the_items_that_a_user_has_left(data):
    """Lists of 45 items; users who have fewer left are compared on those."""
    student, teacher = caser(data, 1), caser(data, 2)
    n, overlaps, taus = 45, [], []
    assert (data.fit.n_items - data.fit.counts() < n).any()
    for user, (own_scores, other) in enumerate(zip(scores_of(student, data), scores_of(teacher, data), strict=True)):
        unseen = set(range(data.fit.n_items)) - set(own(data.fit, user))
        by_student, by_teacher = (sorted(unseen, key=lambda i, s=s: -s[i])[:n] for s in (own_scores, other))
        overlaps.append(len(set(by_student) & set(by_teacher)) / len(by_teacher))
        taus.append(stats.kendalltau([own_scores[i] for i in by_teacher], [other[i] for i in by_teacher]).statistic)
    found = agreement(student, teacher, data, n=n, depth=n)
    assert found == pytest.approx({f"overlap@{n}": np.mean(overlaps), f"kendall@{n}": np.mean(taus)}, rel=1e-9)


def test_agreement_with_a_teacher_that_names_some_items_is_over_those():
    mine = Stage("F", Interactions("shop", np.arange(90, 100), [0, 10], 100), Interactions("test", [0], [0, 1], 100))
    found = agreement(Known(), Known(), mine)
    assert found == {"overlap@10": 1.0, "kendall@50": 1.0}
    assert agreement(Known(), Known(), mine, n=50)["overlap@50"] == 1.0
    everything = Stage("F", Interactions("all", np.arange(100), np.array([0, 100]), 100), mine.judge)
    assert all(math.isnan(value) for value in agreement(Known(), Known(), everything).values())

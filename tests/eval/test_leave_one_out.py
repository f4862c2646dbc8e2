"""The leave-one-out protocol: what is drawn, how an item is ranked, when a run stops, and what is kept of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdcore.data import Interactions
from rdcore.datasets import synthetic
from rdcore.distill import Position, RDSettings
from rdcore.eval import leave_one_out as loo
from rdcore.eval import metrics
from rdcore.files import paths
from rdcore.models import BPRMFSettings, CaserSettings, Model, Popularity, PopularitySettings
from rdcore.store import checkpoints, records, runs, stages, weights
from rdcore.store.agreement import agreement
from rdcore.store.experiment import Experiment
from rdcore.store.groups import by_item_popularity
from rdcore.train.loop import Training


@pytest.fixture(scope="module")
def data() -> Interactions:
    return synthetic.generate(n_users=40, n_items=700, min_length=5, max_length=12)


@pytest.fixture(scope="module")
def judge(data) -> loo.Judge:
    return loo.Judge(data)


def items_of(part: Interactions, user: int) -> list[int]:
    return part.items[part.offsets[user] : part.offsets[user + 1]].tolist()


def test_the_test_item_is_asked_for_behind_the_validation_item(data, judge):
    for user in range(data.n_users):
        *fit, validation, test = items_of(data, user)
        assert items_of(judge.fit, user) == fit == items_of(judge.validation.fit, user)
        assert items_of(judge.validation.judge, user) == [validation]
        assert items_of(judge.test.fit, user) == [*fit, validation]
        assert items_of(judge.test.judge, user) == [test]


def test_a_user_with_two_items_is_fitted_and_not_judged():
    few = Interactions("few", np.array([3, 1, 0, 2, 4, 5]), np.array([0, 2, 6]), 600)
    judge = loo.Judge(few)
    assert items_of(judge.fit, 0) == [3, 1] == items_of(judge.test.fit, 0)
    assert items_of(judge.test.judge, 0) == []
    ranks = judge.ranks(Popularity(torch.rand(600)))
    assert all(np.isnan(found[0]) and np.isfinite(found[1]) for found in ranks.values())
    assert loo.means(ranks)["n_users"] == 1 and loo.means(ranks)["n_left_out"] == 1


def test_candidates_are_different_and_the_users_own_items_are_none_of_them(data, judge):
    assert judge.drawn.shape == (data.n_users, 499)
    for user in range(data.n_users):
        drawn = judge.drawn[user].tolist()
        assert len(set(drawn)) == 499 and not set(drawn) & set(items_of(data, user))


def test_the_pinned_draw_is_the_same_everywhere_and_the_redraw_another(data, judge):
    """The numbers: what this version draws on synthetic data; another draw makes every committed record out of date."""
    assert torch.equal(judge.drawn, loo.Judge(data).drawn)
    assert judge.drawn[:2, :4].tolist() == PINNED
    again = loo.candidates(judge.owned, loo.REDRAW)
    assert not torch.equal(judge.drawn, again)


PINNED = [[598, 380, 618, 235], [473, 203, 3, 472]]


def test_a_small_catalogue_is_drawn_as_far_as_it_goes():
    """60 items: every user is ranked among all others, however many the most active one leaves."""
    data = synthetic.generate(n_users=30, n_items=60, min_length=5, max_length=12)
    small = loo.Judge(data)
    for user in range(30):
        drawn = [item for item in small.drawn[user].tolist() if item < 60]
        assert sorted(drawn) == sorted(set(range(60)) - set(items_of(data, user)))
    torch.manual_seed(0)
    model = BPRMFSettings(dim=3).build(30, 60)
    ranks = small.ranks(model)
    for kind in ("", "-redraw"):
        assert ranks[kind].tolist() == ranks["-full"].tolist()
    assert small.means(model)["n_short"] == 30 == small.n_short


def test_one_user_with_nearly_everything_changes_nobody_elses_candidates():
    """600 items; one user has 550 of them: they get the 50 that are left, all others the 499 that the protocol says."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(600, 20, replace=False) for _ in range(50)]
    few = Interactions("few", np.concatenate(rows), np.arange(0, 1001, 20), 600)
    rows.append(rng.permutation(600)[:550])
    many = Interactions("many", np.concatenate(rows), np.cumsum([0, *map(len, rows)]), 600)
    drawn, judge = loo.Judge(few).drawn, loo.Judge(many)
    assert drawn.shape == (50, 499) and (drawn < 600).all()
    assert ((judge.drawn[:50] < 600).sum(1) == 499).all() and judge.n_short == 1
    last = judge.drawn[50]
    assert sorted(last[last < 600].tolist()) == sorted(set(range(600)) - set(rows[-1].tolist()))
    assert "n_short" not in loo.Judge(few).means(BPRMFSettings(dim=2).build(50, 600))


@pytest.mark.parametrize("rows", [[0, 0, 1, 2, 3], [0, 0, 0, 1, 2, 3], [0, 1, 0, 1, 2, 3]])
def test_a_user_with_revisits_leaves_what_he_never_had(rows):
    """Item 4 of five, however often he came back to the others."""
    judge = loo.Judge(Interactions("again", np.array(rows), np.array([0, len(rows)]), 5))
    assert judge.drawn.tolist() == [[4]]
    assert judge.means(Popularity(torch.arange(5.0)))["H@5"] == 1


def test_a_user_who_has_the_whole_catalogue_is_named():
    data = Interactions("all", np.array([0, 1, 2, 0, 0, 1, 2, 3, 4]), np.array([0, 3, 9]), 5)
    with pytest.raises(ValueError, match="user 1 has every one of the 5 items, .* leave them out"):
        loo.Judge(data)


def test_every_unowned_item_is_drawn_equally_often():
    """60 items, 10 of them owned, 20 drawn: 0.4 of the users have each other item (4 sigma of 4,000 users is 0.031)."""
    n = 4000
    owned = loo.SeenItems(torch.arange(10).repeat(n), torch.arange(0, 10 * n + 1, 10), 60)
    drawn = torch.bincount(loo.candidates(owned, 0, 20).flatten(), minlength=60) / n
    assert drawn[:10].sum() == 0 and (drawn[10:] - 0.4).abs().max() < 0.031


def test_ranks_are_those_of_a_slow_loop(data, judge):
    torch.manual_seed(0)
    model = BPRMFSettings(dim=3).build(data.n_users, data.n_items)
    found = judge.ranks(model)
    redrawn = loo.candidates(judge.owned, loo.REDRAW)
    for user in range(data.n_users):
        *fit, validation, test = items_of(data, user)
        scores = (model.user.weight[user] @ model.item_factors.weight.T).tolist()
        worse = {"": judge.drawn[user].tolist(), "-redraw": redrawn[user].tolist(),
                 "-full": set(range(700)) - {*fit, validation, test}}  # fmt: skip
        for kind, others in worse.items():
            assert found[kind][user] == 1 + sum(scores[item] > scores[test] for item in others)
        others = {"-validation": judge.drawn[user].tolist(), "-validation-full": set(range(700)) - {*fit, validation}}
        for kind, items in others.items():
            assert found[kind][user] == 1 + sum(scores[item] > scores[validation] for item in items)


class ByLastItem(Model):
    """Scores of what comes behind an item: a table."""

    window, n_items = 1, 700

    def __init__(self):
        super().__init__()
        self.table = torch.rand((700, 700), generator=torch.Generator().manual_seed(0))

    def encode(self, queries):
        return queries.history(1)

    def score(self, context, items):
        return self.table[context, items]

    def score_all(self, context):
        return self.table[context[:, 0]]


def test_a_model_with_a_memory_is_asked_for_each_held_out_item_behind_the_one_before(data, judge):
    model = ByLastItem()
    found = judge.ranks(model)
    for user in range(data.n_users):
        *fit, validation, test = items_of(data, user)
        for kind, last, item in (("", validation, test), ("-validation", fit[-1], validation)):
            scores = model.table[last].tolist()
            assert found[kind][user] == 1 + sum(scores[other] > scores[item] for other in judge.drawn[user].tolist())
            others = set(range(700)) - {*fit, *([] if kind else [validation])}
            assert found[f"{kind}-full"][user] == 1 + sum(scores[other] > scores[item] for other in others)


def test_a_tie_counts_against_the_item_and_a_diverged_model_is_refused(judge):
    assert (judge.ranks(Popularity(torch.ones(700)))[""] == 500).all()
    with pytest.raises(ValueError, match="NaN"):
        judge.means(Popularity(torch.full((700,), torch.nan)))


@given(st.lists(st.one_of(st.none(), st.integers(1, 600)), min_size=1, max_size=20))
def test_metrics_of_one_item(ranks):
    found = metrics.of_one_item(np.array([np.nan if rank is None else rank for rank in ranks]))
    for n in (5, 10, 20):
        for user, rank in enumerate(ranks):
            got = [found[f"{name}@{n}"][user] for name in "HMN"]
            if rank is None:
                assert np.isnan(got).all()
            else:
                inside = float(rank <= n)
                assert got == pytest.approx([inside, inside / rank, inside * np.log(2) / np.log(rank + 1)])


def test_a_rank_of_zero_is_refused():
    with pytest.raises(ValueError, match="ranks begin with 1"):
        metrics.of_one_item(np.array([2.0, 0.0]))


def entries(*values, start=1):
    """Evaluated epochs with validation H@5, H@10, H@20 as given."""
    return [{"epoch": epoch, **dict(zip(stages.WATCHED, triple, strict=True))} for epoch, triple in enumerate(values, start)]


def test_the_first_of_equal_epochs_is_chosen_and_no_test_metric_chooses():
    found = entries((0.1, 0.9, 0), (0.3, 0.1, 0), (0.3, 0.2, 0), (0.2, 1.0, 0))
    assert stages.best_epoch(found) == 2 and stages.best_epoch(found, "H@10-validation") == 4
    with pytest.raises(ValueError, match="validation"):
        stages.best_epoch(found, "H@5")


def test_training_goes_on_while_any_watched_metric_rises():
    rising = entries((0.3, 0, 0), (0.1, 0.1, 0), (0.1, 0.1, 0.2), (0.1, 0.1, 0.2))
    assert not stages.stalled(rising, 2) and stages.stalled(rising, 1)
    assert stages.stalled(rising + entries((0.3, 0.1, 0.2), start=5), 2)  # an equal value is no new best
    assert not stages.stalled(rising, 0)


def experiment(data, **changes) -> Experiment:
    training = Training(epochs=60, batch_size=64, negatives=1, reduction="sum", learning_rate=0.02, patience=4)
    plain = Experiment(dataset="synthetic", data_hash=data.sha256(), stage="L", role="S", model=BPRMFSettings(dim=4),
                       training=training, evaluate_every=1)  # fmt: skip
    return replace(plain, **changes)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_a_run_stops_is_judged_at_the_chosen_epoch_and_keeps_its_weights_alone(data, judge, store):
    described = experiment(data)
    run = runs.load_or_train(described, data)
    shown = run.metrics
    assert len(shown) < 60 and stages.stalled(shown.reset_index().to_dict("records"), 4)
    assert not stages.stalled(shown.iloc[:-1].reset_index().to_dict("records"), 4)
    best = int(shown["H@5-validation"].idxmax())
    assert run.chosen["epoch"] == run.epoch == best
    assert [file.name for file in run.folder.glob("weights-*")] == [f"weights-{best:03d}.safetensors"]
    assert run.chosen["H@5"] == shown.loc[best, "H@5"] and run.chosen["H@5-validation"] == shown["H@5-validation"].max()
    again = judge.ranks(run.model(described, data))
    for kind, found in again.items():
        np.testing.assert_array_equal(run.per_user()[f"rank{kind}"], found.astype("float32"))
    assert loo.means(again) == {name: value for name, value in run.chosen.items() if name != "epoch"}
    assert {name: shown.loc[best, name] for name in shown if name.endswith("-validation-full")} == {
        name: value for name, value in run.chosen.items() if name.endswith("-validation-full")
    }, "by which methods are compared, at every epoch"


def test_an_interrupted_run_ends_like_an_undisturbed_one(data, store, monkeypatch):
    """Stopped right after every checkpoint once: between it and the removal of older weights."""
    whole = runs.load_or_train(experiment(data), data)
    monkeypatch.setenv("RDCORE_RUNS", str(store.with_name("interrupted")))

    def interrupted(stage, entries):
        raise KeyboardInterrupt

    stops = 0
    while True:
        with monkeypatch.context() as patch:
            patch.setattr(stages.LeaveOneOut, "tidy", interrupted)
            try:
                run = runs.load_or_train(experiment(data), data)
                break
            except KeyboardInterrupt:
                stops += 1
    assert stops == len(whole.metrics) and run.environment["resumed"] == stops
    assert run.metrics.equals(whole.metrics) and run.chosen == whole.chosen
    assert run.per_user().equals(whole.per_user())


def test_weights_of_the_best_epoch_outlast_a_kill_between_checkpoints(data, store, monkeypatch):
    """With checkpoints of the first and last epoch alone: the best of before is kept until the next one is written."""
    written, write = [], checkpoints.write_whole
    for module in (checkpoints, weights):
        monkeypatch.setattr(module, "write_whole", lambda file, content: (written.append(file.name), write(file, content)))
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", np.inf)
    whole = runs.load_or_train(experiment(data), data)
    assert written.count("checkpoint.pt") == len(whole.metrics)
    monkeypatch.setenv("RDCORE_RUNS", str(store.with_name("killed")))
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 0)
    written.clear()

    def killed(judge, model, real=loo.Judge.means, **options):
        if written.count("checkpoint.pt") == 1 and len([name for name in written if name.startswith("weights")]) > 2:
            raise KeyboardInterrupt
        return real(judge, model, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loo.Judge, "means", killed)
        with pytest.raises(KeyboardInterrupt):
            runs.load_or_train(experiment(data), data)
    folder = store.with_name("killed") / whole.key
    assert (folder / "weights-001.safetensors").exists() and len(list(folder.glob("weights-*"))) > 2
    written.clear()
    run = runs.load_or_train(experiment(data), data)
    assert written.count("checkpoint.pt") == 2, "of the first epoch after the kill and of the last"
    assert run.environment["resumed"] == 1 and run.metrics.equals(whole.metrics) and run.chosen == whole.chosen
    kept = [list(one.folder.glob("weights-*")) for one in (run, whole)]
    assert [[file.name for file in files] for files in kept] == [[run.weights().name]] * 2
    assert run.weights().read_bytes() == whole.weights().read_bytes()


def test_a_run_begun_without_ranks_among_all_items_goes_on_without(data, store, monkeypatch):
    """The first checkpoint is from before they were kept at every epoch."""
    monkeypatch.setenv("RDCORE_RUNS", str(store.with_name("begun before")))
    described = experiment(data, training=Training(epochs=3))

    def begun(judge, model, real=loo.Judge.means, **options):
        if written:
            raise KeyboardInterrupt
        written.append(True)
        return real(judge, model, full=False)

    written: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(loo.Judge, "means", begun)
        with pytest.raises(KeyboardInterrupt):
            runs.load_or_train(described, data)
    run = runs.load_or_train(described, data)
    assert run.environment["resumed"] == 1 and len(run.metrics) == 3
    assert "N@10-validation-full" not in run.metrics and "N@10-validation-full" in run.chosen


def test_what_is_measured_at_the_end_is_of_the_chosen_epoch(data, judge, store):
    """Agreement with the teacher's chosen epoch, and items found by their popularity."""
    teacher = experiment(data, role="T", model=BPRMFSettings(dim=8))
    method = RDSettings(K=4, weights=Position(), exclude="seen")
    taught = experiment(data, role="RD", teacher=teacher, teacher_epoch="best", distillation=method)
    run, of_teacher = runs.load_or_train(taught, data), records.run_of(teacher)
    assert run.epoch < run.last_epoch and of_teacher.epoch < of_teacher.last_epoch
    student, model = run.model(taught, data), of_teacher.model(teacher, data)
    assert run.agreement == pytest.approx(agreement(student, model, judge.test), rel=0, abs=0, nan_ok=True)
    assert json.loads((run.folder / "groups.json").read_text()) == by_item_popularity(student, judge.test)


def test_two_data_sets_of_one_name_have_an_evaluation_each(data):
    other = synthetic.generate(n_users=40, n_items=700, min_length=5, max_length=12, seed=1)
    assert other.name == data.name
    one, two = stages._judge_of(data, "cpu"), stages._judge_of(other, "cpu")
    assert (one.fit.sha256(), two.fit.sha256()) == (loo.Judge(data).fit.sha256(), loo.Judge(other).fit.sha256())
    assert stages._judge_of(other, "cpu") is two, "many runs share it"


def test_popularity_and_a_model_with_memory_are_judged_too(data, judge, store):
    counted = experiment(data, model=PopularitySettings(), training=Training(epochs=1))
    popular = runs.load_or_train(counted, data)
    assert popular.chosen["epoch"] == 1 and 0 < popular.chosen["H@20"] < 1
    assert popular.model(counted, data).counts.tolist() == judge.fit.item_counts().tolist(), "without the validation items"
    caser = experiment(data, model=CaserSettings(dim=4), training=Training(epochs=2, patience=1))
    run = runs.load_or_train(caser, data)
    assert set(run.chosen) == set(popular.chosen) and (run.folder / "groups.json").exists()


def test_a_committed_record_is_the_chosen_epoch_with_all_ranks(data, store, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "replicated", lambda: tmp_path / "replicated")
    described = experiment(data, training=Training(epochs=3, patience=2))
    run = runs.load_or_train(described, data)
    record = runs.Record(runs.publish(described, []))
    assert record.chosen == run.chosen and record.per_user().equals(run.per_user())
    assert json.loads((record.folder / "size.json").read_text()) == {"parameters": 4 * (data.n_users + data.n_items)}

"""A frame, a model and a loss that rdcore has never heard of: what a run of theirs is known by, and that it can be resumed."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rdcore import data
from rdcore.distill import Distillation
from rdcore.distill.lists import teacher_lists
from rdcore.losses import log_loss
from rdcore.models import BPRMFSettings, DotProductModel
from rdcore.store import runs
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training


@dataclass(frozen=True, kw_only=True)
class ForeignSettings:
    revision: ClassVar[int] = 1
    dim: int

    def build(self, n_users, n_items):
        return Foreign(n_users, n_items, self.dim)


class Foreign(DotProductModel):
    def __init__(self, n_users, n_items, dim):
        super().__init__()
        self.n_items, self.window = n_items, 1
        self.user, self.last = nn.Embedding(n_users, dim), nn.Embedding(n_items + 1, dim)
        self.item_factors, self.item_bias = nn.Embedding(n_items, dim), nn.Parameter(torch.zeros(n_items))

    def encode(self, queries):
        return self.user(queries.user) + self.last(queries.history(1)[:, 0])

    def base_loss(self, positive, negative):
        return log_loss(positive, negative)


@dataclass(frozen=True, kw_only=True)
class ForeignLossSettings:
    revision: ClassVar[int] = 1
    weight: float = 1.0

    def build(self, student, teacher):
        return ForeignLoss(self)


class ForeignLoss(Distillation):
    stop_in_epoch = 0  # a kill, for the test of resuming

    def __init__(self, settings):
        super().__init__()
        self.settings = settings

    def prepare(self, teacher, data, *, cache=None, progress=False):
        self.freeze(teacher)
        self.lists = teacher_lists(teacher, data, 3, "target", cache=cache)

    def begin_epoch(self, student, epoch, n_batches, rng):
        if epoch == self.stop_in_epoch:
            raise KeyboardInterrupt

    def loss(self, student, batch, step, context):
        items = self.lists.of(batch)
        wanted = self.teacher.score(batch.queries, items)
        return self.settings.weight * F.mse_loss(student.score(context, items), wanted)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def mine() -> data.Interactions:
    rng = np.random.default_rng(0)
    rows = [(f"u{user}", f"i{item}", when) for user in range(12) for when, item in enumerate(rng.permutation(20)[:10])]
    return data.from_frame(pd.DataFrame(rows, columns=["who", "what", "when"]), "who", "what", "when", name="own")


@pytest.fixture
def taught(mine, one_thread) -> Experiment:
    common = {"dataset": "own", "data_hash": mine.sha256(), "stage": "F", "evaluate_every": 2}
    training = Training(epochs=2, batch_size=32, learning_rate=0.01)
    teacher = Experiment(role="T", model=ForeignSettings(dim=6), training=training, **common)
    return replace(
        teacher, role="own", model=ForeignSettings(dim=2), teacher=teacher, teacher_epoch=2, distillation=ForeignLossSettings()
    )


def test_a_run_is_known_by_class_name_revision_and_fields(taught, monkeypatch):
    described = taught.description
    assert described["model"] == {"type": "ForeignSettings", "revision": 1, "dim": 2}
    assert described["distillation"] == {"type": "ForeignLossSettings", "revision": 1, "weight": 1.0}
    assert replace(taught, distillation=ForeignLossSettings(weight=2.0)).key != taught.key
    monkeypatch.setattr(ForeignLossSettings, "revision", 2)
    assert replace(taught).key != taught.key, "a raised revision is another run"


def test_stopped_and_resumed_it_gives_the_numbers_of_a_whole_run(taught, mine, tmp_path, monkeypatch):
    whole = runs.load_or_train(taught, mine)
    assert whole.description["role"] == "own" and whole.history["distillation_loss"].gt(0).all()
    trained = whole.model(taught, mine)
    assert isinstance(trained, Foreign) and not trained.training

    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "again"))
    monkeypatch.setattr(ForeignLoss, "stop_in_epoch", 2)
    with pytest.raises(KeyboardInterrupt):
        runs.load_or_train(taught, mine)
    monkeypatch.setattr(ForeignLoss, "stop_in_epoch", 0)
    resumed = runs.load_or_train(taught, mine)
    assert resumed.environment["resumed"] == 1
    assert resumed.history["distillation_loss"].tolist() == whole.history["distillation_loss"].tolist()
    for name, value in trained.state_dict().items():
        assert torch.equal(resumed.model(taught, mine).state_dict()[name], value)


def test_the_loss_moves_the_student_and_leaves_the_teacher(taught, mine):
    plans = (replace(taught, distillation=ForeignLossSettings(weight=0.0)), taught)
    alone, whole = (runs.load_or_train(plan, mine) for plan in plans)
    one, other = (run.model(plan, mine).state_dict()["item_bias"] for run, plan in zip((alone, whole), plans, strict=True))
    assert (one - other).abs().max() > 1e-3
    assert "teacher" not in "".join(taught.distillation.build(None, None).state_dict())
    assert set(whole.model(taught, mine).state_dict()) == {"user.weight", "last.weight", "item_factors.weight", "item_bias"}


def test_a_time_column_that_was_named_must_be_there():
    frame = pd.DataFrame({"user": [1, 1], "item": [5, 4], "when": [2, 1]})
    assert data.from_frame(frame, time="when").items.tolist() == [0, 1]
    with pytest.raises(data.DataError, match="time='when' looks right.*time=None"):
        data.from_frame(frame)
    assert data.from_frame(frame, time=None).times is None
    with pytest.raises(data.DataError, match="no column 'wen'; it has .*time="):
        data.from_frame(frame, time="wen")


@dataclass(frozen=True, kw_only=True)
class GraphSettings:
    """A model that is built from who has what, and from what is known of the items."""

    dim: int

    def build(self, n_users, n_items, fit):
        model = BPRMFSettings(dim=self.dim).build(n_users, n_items)
        model.register_buffer("popularity", torch.from_numpy(fit.item_counts().astype("float32")))
        model.register_buffer("known", torch.from_numpy(fit.item_features))
        return model


def test_a_model_may_be_built_from_the_fitted_part(mine):
    table = pd.DataFrame({"item": mine.item_ids[::-1], "weight": np.arange(mine.n_items)})
    rich = data.with_item_features(mine, table)
    assert rich.item_features[:, 0].tolist() == list(range(mine.n_items))[::-1]
    assert rich.sha256() != mine.sha256() == data.Interactions("x", mine.items, mine.offsets, mine.n_items).sha256()
    run = Experiment(
        dataset="own", data_hash=rich.sha256(), stage="F", role="T", model=GraphSettings(dim=2),
        training=Training(epochs=1), evaluate_every=1,
    )  # fmt: skip
    model = runs.load_or_train(run, rich).model(run, rich)
    fit = data.stage(rich, "F").fit
    assert model.popularity.tolist() == fit.item_counts().tolist() != rich.item_counts().tolist()
    assert model.known.tolist() == rich.item_features.tolist()


@pytest.mark.parametrize("change, message", [
    (lambda table: table.iloc[1:], "has no row of features"),
    (lambda table: pd.concat([table, table.iloc[:1]]), "has two rows"),
    (lambda table: table.assign(weight=1e300), "must be finite"),
    (lambda table: table[["item"]], "there is no column but 'item'"),
    (lambda table: table.assign(weight=1j), "must be real numbers"),
    (lambda table: table.assign(item=range(len(table))), "its labels are int64 and those of the data str: make them alike"),
    (lambda table: table.assign(weight="x"), "must be real numbers"),
    (lambda table: table.assign(weight=np.nan), "must be finite"),
])  # fmt: skip
def test_item_features_that_do_not_fit_are_refused(mine, change, message):
    with pytest.raises(data.DataError, match=message):
        data.with_item_features(mine, change(pd.DataFrame({"item": mine.item_ids, "weight": 1.0})))


def test_a_stage_of_ones_own_is_trained_and_never_mixed_up_with_another():
    train = data.Interactions("x/train", [0, 1, 2, 3, 4, 5], [0, 3, 6], 9)
    one, other = (data.Stage("F", train, data.Interactions("x/test", items, [0, 1, 2], 9)) for items in ([7, 8], [8, 7]))
    run = Experiment(
        dataset="x", data_hash=train.sha256(), stage="F", role="T", model=BPRMFSettings(dim=2),
        training=Training(epochs=1), evaluate_every=1,
    )  # fmt: skip
    assert runs.load_or_train(run, one).metrics["n_users"].tolist() == [2]
    with pytest.raises(ValueError, match="evaluated by other rows.*stage.sha256"):
        runs.load_or_train(run, other)
    assert runs.load_or_train(replace(run, data_hash=other.sha256()), other).finished

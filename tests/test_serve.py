"""Exported models against rdcore's own lists, place by place; what a query may hold; and what refuses to be exported.

An export takes seconds, so each model is exported once; Caser through the command line, from a trained run."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rdcore import data, datasets
from rdcore import serve as serving
from rdcore.data import Interactions
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, ItemCFSettings, NeuMFSettings
from rdcore.models.base import Model
from rdcore.store import runs
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training
from studies import cli
from studies.rd import timing

pytestmark = pytest.mark.slow  # an export takes seconds
DATA = datasets.load("synthetic", n_users=40, n_items=50)
N = 12
EXPERIMENT = Experiment(
    dataset="synthetic", data_hash=datasets.load("synthetic").sha256(), stage="F", role="S", model=CaserSettings(dim=6),
    training=Training(epochs=2), evaluate_every=1,
)  # fmt: skip


def built(settings) -> Model:
    """A model whose parameters are so large that scores differ by more than rounding."""
    torch.manual_seed(3)
    model = settings.build(DATA.n_users, DATA.n_items)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    if hasattr(model, "item"):
        with torch.no_grad():
            model.item.weight[DATA.n_items] = 0
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict:
    """Name -> (file, model, what its users have)."""
    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for name, kind in {"Fossil": FossilSettings, "BPRMF": BPRMFSettings, "NeuMF": NeuMFSettings}.items():
        model = built(kind(dim=6)).train()
        serving.export(model, folder / f"{name}.onnx", n=N)
        assert model.training, "a model is left in its own mode"
        made[name] = folder / f"{name}.onnx", model.eval(), DATA
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RDCORE_RUNS", str(folder / "runs"))
        run = runs.load_or_train(EXPERIMENT)
        assert cli.main(["export", run.key[:12], str(folder / "Caser.onnx"), "-n", str(N)]) == 0
        whole = datasets.load("synthetic")
        made["Caser"] = folder / "Caser.onnx", run.model(EXPERIMENT, whole), data.stage(whole, "F").fit
    return made


def past_of(fit: Interactions, user: int) -> np.ndarray:
    return fit.items[fit.offsets[user] : fit.offsets[user + 1]]


def own_lists(model: Model, fit: Interactions, n: int) -> tuple[list, np.ndarray]:
    """rdcore's lists (users, n) and its scores of all items (users, n_items)."""
    queries = final_queries(fit)
    lists = timing.top_lists(model, queries, SeenItems(queries.items, queries.offsets, fit.n_items), n=n)
    with torch.no_grad():
        return lists.tolist(), model.score_all(model.encode(queries)).numpy()


@pytest.mark.parametrize("name", ["Caser", "Fossil", "BPRMF", "NeuMF"])
def test_lists_are_rdcores_own(exported, name: str) -> None:
    path, model, fit = exported[name]
    session = serving.session(path, threads=1)
    lists, own = own_lists(model, fit, N)
    swapped = 0
    for user in range(fit.n_users):
        items, scores = session.run(None, {"user": np.array([user]), "past": past_of(fit, user)[None]})
        assert items.shape == scores.shape == (1, N) and items.dtype == np.int64 and scores.dtype == np.float32
        allowed = serving.TOLERANCE * np.abs(own[user, lists[user]]).max()
        assert np.abs(scores[0] - own[user, items[0]]).max() <= allowed
        assert len(set(items[0].tolist())) == N and not set(items[0].tolist()) & set(past_of(fit, user).tolist())
        for item, expected in zip(items[0].tolist(), lists[user], strict=True):
            assert item == expected or abs(own[user, item] - own[user, expected]) <= allowed
            swapped += item != expected
    assert swapped <= 0.01 * fit.n_users * N, "ties are rare here"
    assert serving.check(path, model, fit, range(fit.n_users)) <= serving.TOLERANCE


@pytest.mark.parametrize("name", ["Caser", "Fossil", "BPRMF", "NeuMF"])
def test_a_batch_with_padded_pasts_is_its_queries_one_by_one(exported, name: str) -> None:
    path, _, fit = exported[name]
    session, users = serving.session(path, threads=1), np.array([3, 0, 7])
    pasts = [past_of(fit, 3), past_of(fit, 0)[:2], past_of(fit, 7)[:0]]  # the last one has nothing yet
    padded = np.full((3, len(pasts[0]) + 1), fit.n_items)
    for row, past in zip(padded, pasts, strict=True):
        row[len(row) - len(past) :] = past
    batch = session.run(None, {"user": users, "past": padded})
    for row, (user, past) in enumerate(zip(users, pasts, strict=True)):
        items, scores = session.run(None, {"user": np.array([user]), "past": past[None]})
        assert items[0].tolist() == batch[0][row].tolist()
        np.testing.assert_allclose(scores[0], batch[1][row], rtol=1e-5, atol=1e-6)


def test_padded_pasts_end_with_the_newest_item() -> None:
    pasts = serving.padded_pasts(DATA, [4, 0])
    for row, user in zip(pasts, (4, 0), strict=True):
        own = past_of(DATA, user).tolist()
        assert row.tolist() == [DATA.n_items] * (len(row) - len(own)) + own
    assert min((pasts == DATA.n_items).sum(1)) == 0, "no longer than the longest"


def test_ids_that_are_no_items_stand_for_none_and_strangers_are_an_error(exported) -> None:
    path, _, fit = exported["Caser"]
    session, past = serving.session(path, threads=1), past_of(fit, 1)
    strange = np.array([-1, -7, fit.n_items, fit.n_items + 5, 2**60])
    expected = session.run(None, {"user": np.array([1]), "past": past[None]})
    given = session.run(None, {"user": np.array([1]), "past": np.concatenate([strange, past])[None]})
    assert all(np.array_equal(a, b) for a, b in zip(given, expected, strict=True))
    for user in (-1, fit.n_users):
        with pytest.raises(Exception, match="out of data bounds"):
            session.run(None, {"user": np.array([user]), "past": past[None]})


def test_a_list_without_enough_unseen_items_ends_in_padding(exported) -> None:
    session = serving.session(exported["BPRMF"][0], threads=1)
    past = np.delete(np.arange(DATA.n_items), [8, 30])
    items, scores = session.run(None, {"user": np.array([2]), "past": past[None]})
    assert set(items[0, :2].tolist()) == {8, 30} and items[0, 2:].tolist() == [DATA.n_items] * (N - 2)
    assert np.isfinite(scores[0, :2]).all() and (scores[0, 2:] == -np.inf).all()


def test_the_check_finds_another_model_and_a_changed_order(exported, monkeypatch: pytest.MonkeyPatch) -> None:
    path, model, _ = exported["BPRMF"]
    assert serving.check(path, model, DATA, [0, 5], block=1) <= serving.TOLERANCE
    other = built(BPRMFSettings(dim=6))
    with torch.no_grad():
        other.item_factors.weight[11] *= 1.01
    with pytest.raises(ValueError, match="does not give the model's lists: user"):
        serving.check(path, other, DATA, range(DATA.n_users))
    pasts = serving.padded_pasts
    monkeypatch.setattr(serving, "padded_pasts", lambda fit, users: pasts(fit, users)[:, ::-1].copy())
    serving.check(path, model, DATA, range(5))  # a model without memory has no order to lose
    with pytest.raises(ValueError, match="does not give the model's lists"):
        serving.check(*exported["Caser"], range(5))


def test_the_check_counts_a_seen_item_as_wrong(exported, monkeypatch: pytest.MonkeyPatch) -> None:
    path, model, _ = exported["BPRMF"]
    monkeypatch.setattr(serving, "padded_pasts", lambda fit, users: np.zeros((len(users), 0), dtype=np.int64))
    with pytest.raises(ValueError, match="does not give the model's lists"):
        serving.check(path, model, DATA, range(DATA.n_users))


# ------------------------------------------------------------------------------------------------------------------ script


def test_the_script_needs_neither_torch_nor_rdcore(exported) -> None:
    path, model, fit = exported["Caser"]
    script = Path(__file__).parent.parent / "examples" / "serve.py"
    assert len(script.read_text().splitlines()) < 30
    code = (
        "import runpy, sys\n"
        "for name in ('torch', 'rdcore', 'onnx', 'pandas', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        f"sys.argv = ['serve.py', {str(path)!r}, *sys.argv[1:]]\n"
        f"runpy.run_path({str(script)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "0", "17"], capture_output=True, text=True, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    lists, own = own_lists(model, fit, N)
    assert [(row[0], int(row[1])) for row in rows] == [(str(user), item) for user in (0, 17) for item in lists[user]]
    expected = [own[user, item] for user in (0, 17) for item in lists[user]]
    np.testing.assert_allclose([float(row[2]) for row in rows], expected, atol=2e-6)
    stranger = subprocess.run([sys.executable, str(script), str(path), "Eve"], capture_output=True, text=True)
    assert stranger.returncode == 1 and stranger.stderr == f"{path} knows no user 'Eve'\n"
    for wrong, said in (([], "usage: python"), (["-h"], "usage: python"), ([str(path)], "usage: python"),
                        (["nowhere.onnx", "0"], "nowhere.onnx is no file: give the one that rdcore export")):  # fmt: skip
        alone = subprocess.run([sys.executable, str(script), *wrong], capture_output=True, text=True)
        assert alone.returncode == 1 and alone.stderr.startswith(said)


def test_labels_are_kept_and_nothing_is_a_pickle(tmp_path: Path) -> None:
    users, items = np.array(["ann", "bob"], dtype=object), np.array([70, 80, 90])
    few = Interactions("few", np.array([2, 0, 1]), np.array([0, 2, 3]), 3, user_ids=users, item_ids=items)
    known = np.load(serving.write_users(few, tmp_path / "few.npz"), allow_pickle=False)
    assert known["user_ids"].tolist() == ["ann", "bob"] and known["item_ids"].tolist() == [70, 80, 90]
    assert known["items"].tolist() == [2, 0, 1] and known["offsets"].tolist() == [0, 2, 3]


# -------------------------------------------------------------------------------------------------------------------- file


def test_the_file_says_where_it_comes_from_and_nothing_of_the_machine(exported) -> None:
    path, _, fit = exported["Caser"]
    about = serving.session(path).get_modelmeta().custom_metadata_map
    expected = {"run": EXPERIMENT.key, "epoch": "2", "label": EXPERIMENT.label, "data_hash": EXPERIMENT.data_hash,
                "n": str(N), "n_items": str(fit.n_items)}  # fmt: skip
    assert about | expected == about
    assert str(Path(serving.__file__).parent).encode() not in path.read_bytes() and b".py" not in path.read_bytes()


def test_what_cannot_be_written_leaves_the_old_files(exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Program:
        class model:  # noqa: N801
            graph, metadata_props = type("Graph", (), {"all_nodes": lambda self: []})(), {}

        def save(self, path: Path, external_data: bool) -> None:
            path.with_name(path.name + ".data").write_bytes(b"half")
            raise OSError(28, "No space left on device")

    for name in ("BPRMF.onnx", "BPRMF.onnx.data"):
        shutil.copy(exported["BPRMF"][0].with_name(name), tmp_path / name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(serving, "_program", lambda model, n: Program())
    with pytest.raises(OSError, match="No space left"):
        serving.export(exported["BPRMF"][1], tmp_path / "BPRMF.onnx")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


# ---------------------------------------------------------------------------------------------------------------- refusals


def test_a_model_that_is_no_tensor_operations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ItemCF cannot be exported .* tensor operations on queries.user"):
        serving.export(ItemCFSettings().fit(DATA), tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "n", "said"),
    [("out.onnx", 51, "at most the number of items, 50, got 51"), ("out.onnx", 0, "n must be an integer >= 1"),
     ("out.pt", 5, "must end in .onnx, got 'out.pt'")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(file: str, n: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        serving.export(built(BPRMFSettings(dim=2)), file, n=n)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_a_model_of_other_numbers_is_refused(kind: torch.dtype, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"is exported in torch.float32, and this one has {kind}: give model.float()"):
        serving.export(built(BPRMFSettings(dim=2)).to(kind), tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_users_that_are_not_there_are_refused(exported) -> None:
    path, model, fit = exported["BPRMF"]
    for users in ([-1], [fit.n_users], [0.5], ["0"]):  # -1 would be asked with an empty past, and get what it has
        with pytest.raises(ValueError, match=f"users must be integers in 0..{fit.n_users - 1}"):
            serving.padded_pasts(fit, users)
        with pytest.raises(ValueError, match="users must be integers"):
            serving.check(path, model, fit, users)
    assert serving.padded_pasts(fit, []).shape == (0, 0)


def test_more_users_than_the_model_knows_are_named(exported) -> None:
    path, model, _ = exported["BPRMF"]
    more = datasets.load("synthetic", n_users=DATA.n_users + 5, n_items=model.n_items)
    with pytest.raises(ValueError, match="does not answer for the users .*was it made from other data"):
        serving.check(path, model, more, range(more.n_users))


def test_what_is_no_exported_model_is_named(exported, tmp_path: Path) -> None:
    path, model, _ = exported["BPRMF"]
    (tmp_path / "alone.onnx").write_bytes(path.read_bytes())  # without its weights
    (tmp_path / "junk.onnx").write_bytes(b"x")
    for name in ("alone.onnx", "junk.onnx", "nothing.onnx"):
        with pytest.raises(ValueError, match=f"{name} cannot be served .*lie in one folder; export it again"):
            serving.session(tmp_path / name)
    for name in ("a.onnx", "b.onnx.data"):
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match="or its .data is a folder: give another name"):
            serving.export(model, tmp_path / name.removesuffix(".data"))
    assert not (tmp_path / "a.onnx.data").exists() and not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize("given", [DATA, {"items": [1]}])
def test_who_has_what_is_written_of_interactions(tmp_path: Path, given: object) -> None:
    given = data.stage(given, "F") if given is DATA else given
    with pytest.raises(ValueError, match="give Interactions, not a"):
        serving.write_users(given, tmp_path / "x.npz")


def test_interactions_with_other_items_are_refused(exported) -> None:
    path, model, _ = exported["BPRMF"]
    with pytest.raises(ValueError, match="the model knows 50 items and the interactions have 40: give those it was fitted to"):
        serving.check(path, model, datasets.load("synthetic", n_users=40, n_items=40), [0])


def test_a_run_on_own_data_is_exported_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    asked = replace(EXPERIMENT, dataset="clicks", data_hash=DATA.sha256(), model=BPRMFSettings(dim=3))
    run = runs.load_or_train(asked, DATA)
    out = tmp_path / "out.onnx"
    assert cli.main(["export", run.key, str(out)]) == 2
    assert "serve.export_run(serve.find(" in capsys.readouterr().err and not out.exists()
    with pytest.raises(ValueError, match="has hash .*, but the run describes"):
        serving.export_run(run, out, data=datasets.load("synthetic"))
    assert not out.exists()
    files, difference = serving.export_run(serving.find(run.key[:8]), out, data=DATA)
    assert files[0] == out and difference <= serving.TOLERANCE
    assert np.array_equal(np.load(files[-1])["items"], data.stage(DATA, "F").fit.items)
    (run.folder / "DONE").unlink()
    assert cli.main(["export", run.key, str(out)]) == 2
    said = capsys.readouterr().err
    assert "is not finished: the call that began it, runs.load_or_train(experiment, data), goes on with it" in said


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"needs the extra `serve` .*pip install -e '\.\[serve\]'"):
        serving.export(built(BPRMFSettings(dim=2)), tmp_path / "out.onnx")


@pytest.fixture
def folder(exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trained run's folder, to be damaged."""
    target = tmp_path / "store" / EXPERIMENT.key
    shutil.copytree(exported["Caser"][0].parent / "runs" / EXPERIMENT.key, target)
    monkeypatch.setenv("RDCORE_RUNS", str(target.parent))
    return target


def changed(folder: Path, **fields) -> Path:
    """The folder under the key of its changed description."""
    file = folder / "description.json"
    described = json.loads(file.read_text())
    described["model"] |= fields.pop("model", {})
    described |= fields
    file.write_text(json.dumps(described))
    return folder.rename(folder.with_name(hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"model": {"type": "MineSettings"}}, "no model of rdcore's: export it by rdcore.serve.export"),
     ({"model": {"type": "Caser"}}, "no model of rdcore's"),
     ({"model": {"revision": 99}}, "has revision 99 of CaserSettings, which is at 2 by now"),
     ({"model": {"dim": "six"}}, "describes no CaserSettings: dim must be an integer"),
     ({"model": {"depth": 3}}, "describes no CaserSettings: .*depth"),
     ({"model": {"dim": 7}}, "does not fit the model"),
     ({"data_hash": "f" * 64}, r"data of your own: .*in Python: .*serve.export_run\(serve.find\('.{16}'\), .*data="),
     ({"dataset": "clicks"}, "clicks.* was trained on data of your own: hand them over")],
)  # fmt: skip
def test_a_record_that_does_not_fit_is_named(folder: Path, tmp_path: Path, capsys, fields: dict, said: str) -> None:
    folder = changed(folder, **fields)
    assert cli.main(["export", str(folder), str(tmp_path / "out.onnx")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rdcore export: ") and error.count("\n") == 1
    assert re.search(said, error), error
    assert not list(tmp_path.glob("out*"))


def test_a_run_without_these_weights_is_refused(folder: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "out.onnx")
    assert cli.main(["export", EXPERIMENT.key, out, "--epoch", "7"]) == 2
    assert "keeps no weights of epoch 7; it has those of 1, 2" in capsys.readouterr().err
    (folder / "DONE").unlink()
    assert cli.main(["export", EXPERIMENT.key[:8], out]) == 2
    assert f"is not finished: `rdcore train --only {EXPERIMENT.key}`" in capsys.readouterr().err
    assert cli.main(["export", "nonesuch", out]) == 2
    assert "has a key that begins with 'nonesuch'" in capsys.readouterr().err


def test_a_committed_record_has_no_weights(folder: Path, project: Path, capsys) -> None:
    target = project / "data/replicated" / f"{EXPERIMENT.label}-{EXPERIMENT.key}"
    target.parent.mkdir(parents=True)
    folder.rename(target)
    assert cli.main(["export", EXPERIMENT.key, str(project / "out.onnx")]) == 2
    assert "is a committed record, which has no weights" in capsys.readouterr().err


def test_the_command_says_what_it_wrote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys, folder: Path) -> None:
    asked = []
    file = tmp_path / "out.onnx"
    file.write_bytes(b"12345" * 100_000)
    monkeypatch.setattr(serving, "export_run", lambda run, path, **given: asked.append((run, path, given)) or ([file], 3.2e-7))
    assert cli.main(["export", str(folder), str(file), "-n", "5", "--epoch", "1"]) == 0
    assert asked == [(runs.Run(folder), str(file), {"n": 5, "epoch": 1})]
    said = capsys.readouterr().out
    assert said == (
        f"written: {file} (0.50 MB)\n"
        "checked: the lists of 200 users are rdcore's own; scores differ by 3e-07 of the largest\n"
    )



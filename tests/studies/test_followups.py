"""The plan of the later methods, and one short curve of each protocol."""

import json
import re
import sys
from dataclasses import replace
from fnmatch import fnmatch
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rdcore.data import Interactions, Stage
from rdcore.datasets import synthetic
from rdcore.distill import FTDSettings, HetCompSettings, UnKDSettings
from rdcore.files import paths
from rdcore.models import BPRMFSettings
from rdcore.train.loop import Training
from studies.common.reported import reported
from studies.derrd.plan import all_runs as derrd_runs
from studies.followups import bidirectional, missing, plan, proofs, splits, study


def test_what_is_trained_already_is_not_planned_under_another_key():
    planned, known = plan.runs("paper"), {run.key for run in derrd_runs("paper")}
    new = [run for run in planned if run.key not in known]
    assert {run.role for run in new if run.dataset == "citeulike"} == {"IR-RRD"}
    assert {run.role for run in planned if run.dataset == "citeulike-td"} == {"T", "S", "FTD", "HTD"}
    assert plan.runs("small") == plan.runs("smoke") == []


def test_topology_is_judged_once_at_its_end():
    run = plan.topology(10).distilled("L", 1, "HTD")
    assert run.evaluated_epochs == run.teacher.evaluated_epochs == [101] and run.distillation.weight == 1e-3


def test_a_student_finds_its_teachers():
    for size in plan.SIZES:
        own = plan.topology(size)
        assert own.teacher("L", 2) in study.teachers_of(own.student("L", 2))


def test_without_records_table_and_section_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(study.paths, "replicated", lambda: tmp_path)
    table = study.tables()["followups"]
    assert list(table.columns) == study.COLUMNS and not len(table)
    assert study.results().startswith("## The later methods\n\nNo run of them is on record yet")
    assert study.of_method("HTD") == ""


def test_records_of_proofs_stand_beside_the_authors_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(study.paths, "replicated", lambda: tmp_path)
    (tmp_path / "followups").mkdir()
    for role, last in (("S", 0.17), ("HTD", 0.23)):
        curve = [{"epoch": epoch, "R@50": value, "N@50": value / 4} for epoch, value in ((1, 0.1), (101, last))]
        record = {"study": "td", "role": role, "dim": 10, "seed": 1, "curve": curve, "chosen": curve[-1]}
        (tmp_path / f"followups/td-{role}-d10-seed1.json").write_text(json.dumps(record))
    chosen = {"epoch": 7, "R@10": 0.2, "R@10-popular": 0.3}
    whole = {"training": {"epochs": 7}, "curve": [{"epoch": 7, "N@20": 0.1}]}
    record = {"study": "unkd", "role": "UnKD", "dim": 10, "seed": 1, **whole, "chosen": chosen}
    (tmp_path / "followups/unkd-UnKD-d10-seed1.json").write_text(json.dumps(record))
    table = study.tables()["followups"]
    assert table[(table["study"] == "td") & (table["metric"] == "R@50")]["epoch"].tolist() == [0, 100, 0, 100]
    assert table[table["study"] == "unkd"]["metric"].tolist() == ["Recall@10", "Recall@10-popular"]
    assert "0.2300 (0.2282)" in study.results() and "0.1700 (0.1788)" in study.results()
    assert study.of_method("HTD").endswith("authors' log): d=10 0.2300 (0.2282), S 0.1700 (0.1788).")


def test_a_study_is_on_the_page_with_its_first_run_and_a_student_that_is_the_teacher_is_named():
    table = study.tables()["followups"]
    for name in ("td", "unkd", "rcekd"):
        assert "| T " in study.of_study(table[table["method"] == "T"], name)
    assert study.of_study(table[table["method"].isin(["T", "S", "RRD"])], "irrrd") == "", "DE-RRD's own runs"
    assert "; UnKD-released (d=10) 0." in study.of_method("UnKD", table) and "(T)" not in study.of_method("BD", table)
    words = "S of 200 numbers is T itself"
    assert words in study.of_study(table, "td") and words not in study.of_study(table[table["student_dim"] < 200], "td")


def test_what_is_ours_and_how_far_the_log_is_stands_below_a_table():
    """Gains and distances again from the files, without the table."""
    page = " ".join(study.results().split())
    log = {(r.role, r.dim): r.value for r in reported("td_logs").itertuples() if r.epoch == 100}
    files = {(role, d): paths.replicated() / "followups" / f"td-{role}-d{d}-seed1.json" for role, d in log}
    here = {place: json.loads(file.read_text())["chosen"]["R@50"] for place, file in files.items()}
    off = [here[place] / log[place] - 1 for place in log]
    below = sum(each < 0 for each in off)
    assert f"Of {len(log)} numbers with a log {below} are below it, by {-100 * min(off):.1f}% at most" in page
    for name in ("FTD", "HTD"):
        gain = {d: [own[name, d] - own["S", d] for own in (here, log)] for d in (10, 20, 100, 200)}
        gains = [f"{own:+.4f} ({logged:+.4f}) at {d}" for d, (own, logged) in gain.items()]
        assert f"{name} {', '.join(gains)}" in page
    assert f"two trainings of one model, differ by {log['S', 200] - log['T', 200]:.4f}: so much is chance" in page
    ftd = [log["FTD", d] - here["FTD", d] for d in (10, 20, 100, 200)]
    assert min(ftd) > log["S", 200] - log["T", 200]
    shares = [100 * lost / log["FTD", d] for lost, d in zip(ftd, (10, 20, 100, 200), strict=True)]
    assert f"FTD is below it by {min(shares):.1f}% to {max(shares):.1f}% at every size: more than that." in page
    curves = {place: [row["R@50"] for row in json.loads(file.read_text())["curve"]][-5:] for place, file in files.items()}
    logged = {(role, d): part.sort_values("epoch")["value"].tolist()[-5:]
              for (role, d), part in reported("td_logs").groupby(["role", "dim"])}  # fmt: skip
    del curves["S", 200], logged["S", 200]  # T again
    late = {place: 100 - 100 * np.mean(curves[place][1:]) / np.mean(logged[place][1:]) for place in curves}
    of_ftd = [late["FTD", d] for d in (10, 20, 100, 200)]
    sizes = ", ".join(f"{late['FTD', d]:.1f}% at {d}" for d in (10, 20, 100, 200))
    said = f"last 4 evaluations FTD is below the log by {sizes}, its teacher T by {late['T', 200]:.1f}%."
    assert f"{said} We do not know why." in page
    deviations = " ".join((paths.root() / "DEVIATIONS.md").read_text(encoding="utf-8").split())
    assert f"by {min(of_ftd):.1f} % to {max(of_ftd):.1f} %, its teacher by {late['T', 200]:.1f} %" in deviations
    alone = json.loads((paths.replicated() / "followups" / "bd-S-d5-seed1.json").read_text())
    assert f"then {alone['training']['epochs']} more" in page
    assert f"batches of {alone['training']['batch_size']} instead" in page
    for paragraph in study.OURS.values():  # the parts around its numbers
        assert all(part in page for part in re.split(r"{\w+}", paragraph))
    assert "{" not in page
    table = study.tables()["followups"]
    near = table.assign(mean=table["mean"].where(table["method"] != "FTD", table["mean"] + 0.005))
    assert "do not know why" not in study.of_study(near, "td"), "a distance like that of two trainings"
    small = table.query("study == 'td' and method == 'T'")
    assert "with a log" not in study.of_study(small, "td"), "without S and FTD there is nothing to compare"


def test_the_first_epochs_losses_are_those_of_the_authors_log():
    """706.2 and 822.5: the reduction of base loss and list loss are theirs."""
    table = study.tables()["followups"]
    loss = table[table["metric"] == "train_loss"].set_index("method")["mean"]
    assert loss["S"] == pytest.approx(706.2, abs=0.3) and loss["RRD"] == pytest.approx(822.5, abs=0.5)
    said = study.of_method("IR-RRD", table)
    assert said.endswith(f"in the first epoch: {loss['IR-RRD']:.1f} (S {loss['S']:.1f}).")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Every protocol on generated data, with few epochs."""
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    data = synthetic.generate(n_users=40, n_items=60, min_length=10, max_length=20, seed=1)
    rows = [data.items[a:b].tolist() for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]
    parts = splits.Parts(
        splits.interactions("fit", [row[:-2] for row in rows], 60),
        splits.interactions("validation", [row[-2:-1] for row in rows], 60),
        splits.interactions("test", [row[-1:] if user % 3 else [] for user, row in enumerate(rows)], 60),
    )
    protocols = {}
    for name, protocol in proofs.PROTOCOLS.items():
        validated = bool(protocol.chooses)
        given = (parts.fit, Stage("L", parts.fit, parts.validation) if validated else None, Stage("L", parts.fit, parts.test))
        methods = {
            "FTD": FTDSettings(),
            "UnKD": UnKDSettings(groups=2, depth=20),
            "HetComp": HetCompSettings(K=10, cut=5, every=2),
        }
        fields = {**vars(protocol), "parts": lambda given=given: given, "dims": (6, 3), "methods": methods}
        fields["checkpoints"] = (1, 2) if protocol.checkpoints else ()
        protocols[name] = proofs.Protocol(**fields)
    monkeypatch.setattr(proofs, "PROTOCOLS", protocols)
    return tmp_path


@pytest.mark.parametrize(
    ("which", "role"), [("td", "FTD"), ("unkd", "UnKD"), ("unkd", "FTD"), ("rcekd", "S"), ("rcekd", "HetComp")]
)
def test_a_curve_is_written_and_not_trained_twice(small, which, role, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["proofs", which, role, "--epochs", "6", "--seed", "2"])
    proofs.main()
    record = json.loads((small / "followups" / f"{which}-{role}-d3-seed2-6epochs.json").read_text())
    assert record["curve"][-1]["epoch"] == 6 and len(record["history"]) == 6
    assert ("R@10-popular" in record["chosen"]) == (which == "unkd")
    assert record["method"] is None or record["environment"]["threads"] == 1
    if role != "S":
        assert (small / "followups" / f"{which}-T-d6-seed2-6epochs.safetensors").exists()
    early = sorted(file.name for file in small.glob("followups/*-epoch?.safetensors"))
    assert early == [f"rcekd-T-d6-seed2-6epochs-epoch{k}.safetensors" for k in (1, 2) if role == "HetComp"]
    monkeypatch.setattr(proofs, "train", None)
    proofs.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == lines[-2] == json.dumps(record["chosen"])
    monkeypatch.setattr(sys, "argv", ["proofs", which, "HTD2"])
    with pytest.raises(SystemExit):
        proofs.main()


@pytest.mark.parametrize("role", ["T", "HetComp"])
def test_an_interrupted_run_goes_on_and_ends_in_the_same_numbers(small, role, monkeypatch):
    def record(seed):
        made = proofs.run("rcekd", role, seed=seed, epochs=8)
        return {name: value for name, value in made.items() if name != "environment"} | {
            "history": [{k: v for k, v in entry.items() if k != "seconds"} for entry in made["history"]]
        }, made["environment"]

    proofs.run("rcekd", "T", seed=2, epochs=8)
    if role == "T":
        monkeypatch.setattr(proofs.paths, "runs", lambda: small / "other")
    whole, environment = record(2)
    assert environment["resumed"] == 0 and not list(small.glob("**/checkpoint.pt"))
    file = next(proofs.paths.runs().glob(f"followups/rcekd-{role}-*.json"))
    for found in file.parent.glob(f"rcekd-{role}-*"):
        found.unlink()
    judged, calls = proofs.judged, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return judged(*given)

    monkeypatch.setattr(proofs, "judged", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(2)
    assert not file.exists() and list(file.parent.glob("*/checkpoint.pt"))
    again, environment = record(2)
    assert again == whole and environment["resumed"] == 1
    assert not list(file.parent.glob("*/checkpoint.pt"))


def test_a_checkpoint_of_another_method_is_refused(small, monkeypatch):
    monkeypatch.setattr(proofs, "judged", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setitem(proofs.PROTOCOLS, "rcekd", replace(proofs.PROTOCOLS["rcekd"], evaluated=lambda epoch: epoch == 3))
    with pytest.raises(KeyboardInterrupt):
        proofs.run("rcekd", "S", epochs=8)
    decayed = replace(proofs.PROTOCOLS["rcekd"].training, weight_decay=0.5)
    monkeypatch.setitem(proofs.PROTOCOLS, "rcekd", replace(proofs.PROTOCOLS["rcekd"], training=decayed))
    with pytest.raises(ValueError, match=r"rcekd-S-d3-seed1-8epochs.checkpoint.pt has another training or method: delete"):
        proofs.run("rcekd", "S", epochs=8)


def test_a_run_that_was_ended_by_hand_is_called_so(monkeypatch):
    there = next(proof for proof in study.proofs() if proof.key == "rcekd-RCE-KD-d20-seed1")
    assert study.cut_short(there.content) == 0 and study.ended_by_hand("rcekd", {"RCE-KD"}) == ""
    patience, whole = proofs.PROTOCOLS["rcekd"].patience, there.content["curve"]
    assert [study.cut_short(there.content | {"curve": whole[:-cut]}) for cut in (1, patience)] == [
        whole[-2]["epoch"], whole[-patience - 1]["epoch"]
    ]  # fmt: skip
    cut = there._replace(content=there.content | {"curve": whole[:-1]})
    monkeypatch.setattr(study, "proofs", lambda names="*": [cut] if fnmatch(cut.key, names) else [])
    words = f"RCE-KD was ended by hand after epoch {whole[-2]['epoch']}, for time"
    assert words in study.ended_by_hand("rcekd", {"RCE-KD", "T"}) and study.ended_by_hand("rcekd", {"T"}) == ""
    assert words in study.results() and words in study.of_method("RCE-KD")
    row = next(line for line in missing.section().splitlines() if line.startswith("| RCE-KD "))
    assert f"| ended by hand after epoch {whole[-2]['epoch']} " in row
    assert "`python -m studies.followups.proofs rcekd RCE-KD`" in row


def test_a_hetcomp_without_earlier_checkpoints_is_called_so(monkeypatch):
    words = ("HetComp had its teacher's last list from the first epoch on: the teacher is best in epoch 48, before its first "
             "checkpoint in epoch 51.")  # fmt: skip
    assert words in study.results() and words in study.of_method("HetComp") and words not in study.of_method("RCE-KD")
    there = next(proof for proof in study.proofs() if proof.key == "rcekd-HetComp-d20-seed1")
    first = there.content["history"][0] | {"early": 1.0}
    early = there._replace(content=there.content | {"history": [first, *there.content["history"][1:]]})
    monkeypatch.setattr(study, "proofs", lambda names="*": [early] if fnmatch(early.key, names) else [])
    assert study.one_list("rcekd", {"HetComp"}) == ""


def test_two_models_go_on_alone_and_together(tmp_path, monkeypatch):
    monkeypatch.setattr(bidirectional.paths, "replicated", lambda: tmp_path)
    data = synthetic.generate(n_users=30, n_items=50, min_length=10, max_length=15, seed=1)
    rows = [data.items[a:b].tolist() for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]
    fit = splits.interactions("fit", [row[:-1] for row in rows], 50)
    test = Stage("L", fit, splits.interactions("test", [row[-1:] for row in rows], 50))
    monkeypatch.setattr(bidirectional.datasets, "load", lambda name: None)
    monkeypatch.setattr(bidirectional, "Judge", lambda data: SimpleNamespace(fit=fit, test=test))
    short = Training(epochs=2, batch_size=64, learning_rate=0.02, negatives=1, reduction="sum")
    found = bidirectional.run(1, short, short)
    assert set(found) == {"T", "S", "BD", "BD (T)", "BD-released", "BD-released (T)", "BD-paper", "BD-paper (T)", "BD-one-way"}
    assert json.loads((tmp_path / "followups/bd-BD(T)-d50-seed1.json").read_text()) == found["BD (T)"]
    assert "| BD " in study.results() and study.of_method("BD").startswith("[BD on MovieLens-100K")


def test_only_a_whole_run_leaves_a_committed_record(small, tmp_path, monkeypatch):
    monkeypatch.setattr(proofs.paths, "replicated", lambda: tmp_path / "replicated")
    monkeypatch.setitem(proofs.PROTOCOLS, "td", replace(proofs.PROTOCOLS["td"], training=Training(epochs=2, negatives=1)))
    record = proofs.run("td", "S")
    assert json.loads((tmp_path / "replicated/followups/td-S-d3-seed1.json").read_text()) == record
    (tmp_path / "followups/td-S-d3-seed1.safetensors").unlink()
    assert proofs.run("td", "S") == record and not (tmp_path / "followups/td-S-d3-seed1.safetensors").exists()


def test_metrics_are_the_slow_ones():
    torch.manual_seed(0)
    fit = splits.interactions("fit", [[0, 1], [2], [3, 4, 5]], 30)
    rows = [[6, 7, 8], [], [9, 0, 20, 21]]
    model = BPRMFSettings(dim=4).build(3, 30)
    with torch.no_grad():
        model.user.weight.normal_(), model.item_factors.weight.normal_()
    stage = Stage("L", fit, splits.interactions("test", rows, 30))
    scores, found = model.score_all(model.user.weight).tolist(), {name: [] for name in ("R@10", "N@10")}
    for user, own in enumerate(([0, 1], [2], [3, 4, 5])):
        ranking = sorted(set(range(30)) - set(own), key=lambda i, user=user: -scores[user][i])[:10]
        hits = [place for place, item in enumerate(ranking) if item in rows[user]]
        if rows[user]:
            found["R@10"].append(len(hits) / len(rows[user]))
            ideal = sum(1 / np.log2(place + 2) for place in range(min(10, len(rows[user]))))
            found["N@10"].append(sum(1 / np.log2(place + 2) for place in hits) / ideal)
    every = proofs.judged(model, stage, [], False)
    zero = proofs.judged(model, stage, [torch.tensor([6, 7, 9]), torch.tensor([8, 0, 20, 21])], True)
    for name, values in found.items():
        assert every[name] == pytest.approx(np.mean(values), abs=1e-6)
        assert zero[name] == pytest.approx(np.sum(values) / 3, abs=1e-6)
    assert isinstance(stage.judge, Interactions) and 0 <= zero["R@10-popular"] <= 1

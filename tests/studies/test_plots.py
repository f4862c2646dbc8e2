"""Pictures: each is drawn and looked into, saved files are the same bytes again, and the manifest says where they come from."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fabricated import ENVIRONMENT
from words import smallest_words

from rdcore import data, datasets
from rdcore.distill import Equal, Hybrid, Position
from rdcore.eval import metrics, significance
from rdcore.models import CaserSettings
from rdcore.store.record_files import key_of
from rdcore.store.runs import Record
from studies.common import manifest, plots
from studies.common import style as looks
from studies.common.profiles import PROFILES
from studies.notebooks import page
from studies.rd import method_plots

EPOCHS = 8
K = 4


@pytest.fixture(autouse=True)
def style():
    """Our style within the test only. No figure is left open, and the words of each are large enough."""
    with plt.rc_context():
        plots.use_style()
        yield
        small = {n: size for n in plt.get_fignums() if (size := smallest_words(plt.figure(n))) < 8}
    plt.close("all")
    assert not small, "words smaller than 8 points on a page"


@pytest.fixture(scope="module")
def interactions():
    return datasets.load("synthetic", n_users=30, n_items=60)


def make_record(folder: Path, role: str, values=None) -> Record:
    """A record as a finished run leaves it, with MAP ``values`` at every second epoch."""
    values = [0.1, 0.2, 0.29, 0.3] if values is None else values
    history = [{"epoch": e, "loss": 3 / e, "seconds": 1.0} for e in range(1, EPOCHS + 1)]
    if role.startswith("RD"):
        history = [entry | {"weights": [1 / (r * entry["epoch"]) for r in range(1, K + 1)]} for entry in history]
    rows = [{"epoch": 2 * i, "MAP": value} for i, value in enumerate(values, start=1)]
    settings = {"model": {"type": "CaserSettings"}, "training": {"epochs": EPOCHS}}
    alone = dict.fromkeys(("distillation", "teacher", "teacher_epoch"))
    description = {"dataset": "x", "data_hash": "0" * 64, "role": role, "stage": "F", "seed": 1} | settings | alone
    parts = {"description": description, "history": history, "metrics": rows, "environment": ENVIRONMENT}
    folder = folder / f"x-{role}-{key_of(description)}"
    folder.mkdir(parents=True)
    for name, content in parts.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Record(folder)


def labels(fig) -> set[str]:
    legends = [*fig.legends, *(ax.get_legend() for ax in fig.axes)]
    return {text.get_text() for legend in legends if legend for text in legend.texts}


def test_every_role_has_a_colour_and_a_marker_of_its_own():
    planned = {role for profile in PROFILES.values() for plan in (*profile.rd, *profile.derrd, *profile.one_protocol)
               for role in plan.methods}  # fmt: skip
    assert {"T", "S", *planned} <= set(looks.ROLES)
    roles = {role: look for role, look in looks.ROLES.items() if role != "RD"}
    assert looks.ROLES["RD"] is looks.ROLES["RD-hybrid"]
    for part in ("colour", "marker"):
        assert len({getattr(look, part) for look in roles.values()}) == len(roles), part


def test_a_variant_looks_like_the_role_it_varies():
    assert looks.look("RD-hybrid-K20") == looks.ROLES["RD-hybrid"] and looks.look("DE-attention") == looks.ROLES["DE"]
    assert looks.look("DE-RRD") == looks.ROLES["DE-RRD"] and looks.look("anything").colour == looks.BLACK


def test_saved_twice_is_the_same_bytes_and_entered_once(project, tmp_path):
    record = make_record(tmp_path / "records", "T")
    seen = []
    for _ in range(2):
        fig = plots.learning_curves([record], 0.05, measured_on="validation")
        plots.save(fig, "curves", "small", [record], "02_x")
        folder = project / "figures" / "small"
        seen.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert seen[0] == seen[1]
    assert set(seen[0]) == {"curves.png", "curves.pdf", "MANIFEST.json"}
    entry = {"runs": [record.key], "source": "02_x"}
    assert json.loads(seen[0]["MANIFEST.json"]) == {"curves.png": entry, "curves.pdf": entry}
    assert b"CreationDate" not in seen[0]["curves.pdf"]


def test_timelines_show_every_action_of_each_user(interactions):
    users = [3, 7]
    fig = plots.timelines(data.split(interactions), users)
    for row, user in enumerate(users):
        bars = [bar for bar in fig.axes[0].patches if round(bar.get_y() + bar.get_height() / 2) == row]
        assert sum(bar.get_width() for bar in bars) == interactions.counts()[user]
    assert labels(fig) == {"train", "validation", "test"}


def test_distributions_fall_from_everybody_to_the_busiest(interactions):
    fig = plots.distributions(interactions)
    for ax, counts in zip(fig.axes, (interactions.counts(), interactions.item_counts()), strict=True):
        x, y = ax.lines[0].get_data()
        assert x[-1] == counts.max() and (np.diff(y) < 0).all()
        assert y[0] == 100 * (counts > 0).mean() and y[-1] == pytest.approx(100 * (counts == counts.max()).mean())


def test_caser_diagram_names_the_sizes_of_the_settings():
    fig = method_plots.caser_diagram(CaserSettings(dim=24, window=3, vertical=4, horizontal=5))
    said = " ".join(text.get_text() for text in fig.axes[0].texts)
    for part in ("L = 3", "d = 24", "5 horizontal", "max over time: 15", "4 x d = 96", "3 ago", "last item"):
        assert part in said


def test_learning_curves_draw_what_the_records_say(tmp_path):
    records = [make_record(tmp_path, role) for role in ("T", "S", "RD-hybrid")]
    fig = plots.learning_curves(records, 0.05, measured_on="validation")
    loss, quality = fig.axes
    assert [list(line.get_ydata()) for line in loss.lines] == [list(record.history["loss"]) for record in records]
    assert list(quality.lines[0].get_xdata()) == [2, 4, 6, 8]
    assert labels(fig) == {"T", "S", "RD-hybrid", "popularity"}


def test_weights_are_drawn_as_they_are():
    fig = method_plots.static_weights({"equal": Equal(), "position": Position()}, K)
    assert [line.get_ydata().tolist() for line in fig.axes[0].lines] == [
        Equal()(K, None, 1).tolist(), Position()(K, None, 1).tolist()
    ]  # fmt: skip
    hybrid, ranks = Hybrid(), torch.tensor([0, 4, 155])  # the poster's example
    fig = method_plots.rank_weights(hybrid, 3, ranks)
    heights = np.array([bar.get_height() for bar in fig.axes[2].patches])
    raw = hybrid(3, ranks[None], hybrid.start_epoch)[0]
    np.testing.assert_allclose(heights, torch.cat([raw, raw / raw.sum()]), rtol=1e-6)


def test_a_weight_of_one_ends_below_the_legend():
    fig = method_plots.rank_weights(Hybrid(), 3, torch.tensor([0, 0, 50]))  # one weight above 0, normalised: 1
    fig.draw_without_rendering()
    ax = fig.axes[2]
    assert max(bar.get_height() for bar in ax.patches) == pytest.approx(1)
    assert ax.transData.inverted().transform(ax.get_legend().get_window_extent())[0, 1] > 1


def test_all_hybrid_weights_zero_is_a_picture_too():
    fig = method_plots.rank_weights(Hybrid(), 3, torch.zeros(3, dtype=torch.long))
    assert not any(bar.get_height() for bar in fig.axes[2].patches)


def test_the_mean_weight_of_an_estimated_rank_is_that_of_simulated_ones():
    discrepancy, n_items, rank = Hybrid().discrepancy, 400, 30
    fig = method_plots.rank_estimates(torch.arange(6), torch.arange(6), discrepancy, n_items)
    drawn = fig.axes[1].lines[1].get_ydata()[rank]
    n = torch.from_numpy(np.random.default_rng(0).binomial(discrepancy.samples, rank / n_items, size=20_000))
    weights = discrepancy(1, torch.div(n * n_items, discrepancy.samples, rounding_mode="floor")[:, None], 1)
    assert drawn == pytest.approx(float(weights.mean()), abs=0.005)


def test_weight_curves_have_a_line_for_each_position_and_their_sum(tmp_path):
    records = [make_record(tmp_path, role) for role in ("RD-hybrid", "RD-position")]
    fig = method_plots.weight_curves(records)
    *panels, totals, _ = fig.axes
    assert [len(ax.lines) for ax in panels] == [K, K]
    highest = max(line.get_ydata().max() for ax in panels for line in ax.lines)
    assert [ax.get_ylim()[1] for ax in panels] == pytest.approx([1.05 * highest] * 2)  # the axis ends where the weights do
    assert totals.lines[0].get_ydata()[0] == pytest.approx(sum(records[0].history["weights"].iloc[0]))


def test_comparisons_are_drawn_with_their_intervals():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 200))
    compared = {"T": significance.compare(a, b)}
    fig = plots.differences(compared, (a - b)[0], metric="AP", first="RD-hybrid")
    segment = fig.axes[0].collections[0].get_segments()[0]
    np.testing.assert_allclose(segment[:, 0], [compared["T"].low, compared["T"].high])
    assert sum(bar.get_height() for bar in fig.axes[1].patches) == 200
    fig = plots.agreements({"S": {"overlap@10": 0.4, "kendall@50": -0.1}, "RD-equal": {"overlap@10": 0.5, "kendall@50": 0.2}})
    assert [bar.get_width() for bar in fig.axes[1].patches] == [-0.1, 0.2]


# ----------------------------------------------------------------------------------------- what the pictures are drawn from


def test_late_gain_is_the_share_won_in_the_last_quarter(tmp_path):
    assert make_record(tmp_path, "T").late_gain() == pytest.approx(1 - 0.29 / 0.3)
    with pytest.raises(ValueError, match="no evaluated epoch"):
        make_record(tmp_path, "S", values=[0.3]).late_gain()


def test_popularity_ranks_by_what_was_fitted(interactions):
    stage = data.stage(interactions, "F")
    users = metrics.popularity(stage)
    counts = stage.fit.item_counts().astype(float)
    user = 5
    own = slice(stage.fit.offsets[user], stage.fit.offsets[user + 1])
    asked = slice(stage.judge.offsets[user], stage.judge.offsets[user + 1])
    scores = torch.from_numpy(counts)[None].clone()
    seen = torch.from_numpy(stage.fit.items[own])
    targets = torch.from_numpy(stage.judge.items[asked])
    ranks = metrics.target_ranks(scores, (torch.zeros_like(seen), seen), (targets, torch.tensor([0, len(targets)])))
    assert users["AP"][user] == metrics.per_user(ranks, torch.tensor([0, len(targets)]))["AP"][0]


def test_the_manifest_keeps_profiles_apart_and_survives_writers_at_once(project, tmp_path):
    records = [make_record(tmp_path / "records", role) for role in ("T", "S")]
    files = [project / "figures" / "tables" / f"{i}.csv" for i in range(20)]
    (project / "figures" / "small" / "tables").mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: manifest.write(file, Path.touch, records, "00_x"), files))
    assert all(file.exists() for file in files)
    manifest.write(project / "figures" / "small" / "tables" / "a.csv", Path.touch, [], "00_x")
    entries = json.loads((project / "figures" / "MANIFEST.json").read_text())
    assert sorted(entries) == sorted(f"tables/{i}.csv" for i in range(20))
    assert entries["tables/0.csv"]["runs"] == sorted(record.key for record in records)
    assert list(json.loads((project / "figures" / "small" / "MANIFEST.json").read_text())) == ["tables/a.csv"]
    with pytest.raises(ValueError, match="does not lie under"):
        manifest.write(tmp_path.parent / "elsewhere.png", Path.touch, [], "00_x")


def test_what_a_killed_writer_left_goes_with_the_next_one_and_no_other_file_does(project):
    folder = project / "figures"
    for name in ("a.png.x1.partial", "MANIFEST.json.x2.partial", "a.pngs.x3.partial"):
        (folder / name).mkdir(parents=True)
        (folder / name / "draft").touch()
    manifest.write(folder / "a.png", Path.touch, [], "00_x")
    assert sorted(path.name for path in folder.iterdir()) == ["MANIFEST.json", "a.png", "a.pngs.x3.partial"]


def test_provenance_names_every_run_once(tmp_path):
    record = make_record(tmp_path, "T")
    said = manifest.provenance([record, record], "f" * 64, 7, 0.0)
    assert said.count(record.key) == 1 and "seed 7" in said and "torch" in said


def test_a_picture_is_saved_and_stands_where_it_is_drawn(monkeypatch) -> None:
    """In a loop each below its own heading: one that is left open would be shown at the end of the cell."""
    happened, fig = [], plt.figure()
    monkeypatch.setattr(page.style, "save", lambda shown, name, *rest: happened.append((shown, name, rest[1])))
    monkeypatch.setattr(page, "display", happened.append)
    page.picture(lambda: fig, "one", "small", ["record", None], "11_flexibility")
    assert happened == [(fig, "one", ["record"]), fig] and not plt.get_fignums()
    for nothing in ({"draw": lambda: None, "records": ["record"]}, {"draw": lambda: fig, "records": []}):
        page.picture(name="two", profile="small", notebook="11_flexibility", **nothing)
        assert "No picture" in happened.pop().data and len(happened) == 2

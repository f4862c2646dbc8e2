"""The benchmark: that every stage runs, what its floor counts, and what becomes of its numbers. No time is asserted."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import limits, workloads
from benchmarks import stages as benchmark
from benchmarks.__main__ import main
from benchmarks.limits import Rates, alone, rates
from rdcore import fast
from rdcore.data.queries import final_queries
from rdcore.files import paths
from rdcore.models import CaserSettings


@pytest.fixture(scope="module")
def measured() -> tuple[pd.DataFrame, pd.DataFrame]:
    threads = torch.get_num_threads()
    found = benchmark.measure("cpu", quick=True, threads=1)
    assert torch.get_num_threads() == threads
    return found


@pytest.mark.slow
def test_every_stage_is_measured_beside_its_floor(measured):
    table, parts = measured
    assert list(table.columns) == ["stage", "device", "seconds", "floor_seconds", "ratio", "target"]
    assert table["stage"].tolist() == parts["stage"].tolist() == [each.name for each in benchmark.STAGES]
    assert set(table["device"]) == {"cpu, 1 threads"}
    assert (table[["seconds", "floor_seconds", "ratio"]] > 0).all(axis=None)
    np.testing.assert_allclose(table["ratio"], table["seconds"] / table["floor_seconds"])
    shares = parts[[*workloads.KINDS, "rest"]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares > -0.01).all(axis=None) and parts["peak_gib"].between(0.01, 8).all()
    multiplies = ~parts["stage"].str.contains("BPR")  # a step of BPR-MF multiplies element by element
    assert (parts.loc[multiplies, "products"] > 0).all()
    text = benchmark.shown(table, parts)
    assert "targets missed:" in text and "RD epoch" in text


@pytest.mark.parametrize("settings", [CaserSettings(dim=6), CaserSettings(dim=4, window=3, vertical=3, horizontal=2)])
def test_the_floor_of_an_encoding_is_what_the_model_multiplies(settings):
    interactions = workloads.Size(20, 200, 300, 8).make()
    model = settings.build(20, 200).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.encode(final_queries(interactions))
    assert counter.get_total_flops() == 20 * workloads._encode_flops(settings)


def test_the_floor_of_an_epoch_by_hand(monkeypatch):
    """BPR: three vectors of 4 numbers a pair; two scores, forth and two products back; and nine numbers a parameter a step."""
    monkeypatch.setattr(workloads, "CITEULIKE", workloads.Size(1000, 4000, 10_000, 5))
    found = workloads.bpr_epoch(False, "cpu", 1, dim=4)
    pairs = len(workloads.CITEULIKE.make()) - 2 * 1000  # without two held-out items of every user
    parameters = 5000 * 4
    assert found.flops == pytest.approx(pairs * 3 * 2 * 2 * 4)
    assert found.moved == pytest.approx(pairs * 3 * 4 * 3 * 4 + pairs / 1024 * 9 * 4 * parameters)
    assert found.working_set == 16 * parameters


def test_rates_give_seconds():
    found = rates("cpu", 2**20, quick=True)
    assert found.flops > 1e8 and found.bytes > 1e7
    assert Rates(flops=10, bytes=4).seconds(20, 8) == 4


def test_missed_targets_are_named_and_met_ones_are_not():
    rows = [
        ["A", "cpu", 3.0, 1.0, 3.0, "2 x floor; 4 s"], ["B", "cpu", 1.0, 1.0, 1.0, "0.2 x A; 1.3 x C; 2 x D"],
        ["C", "gpu", 0.1, 1.0, 0.1, ""],
    ]  # fmt: skip
    said = benchmark.missed(pd.DataFrame(rows, columns=benchmark.COLUMNS))
    assert said == ["A (cpu): 3 instead of at most 2 x floor", "B (cpu): 0.333 instead of at most 0.2 x A"]


def test_targets_name_stages_that_there_are():
    names = {each.name for each in benchmark.STAGES}
    of = [part.partition(" x ")[2] for each in benchmark.STAGES for part in f"{each.target}; {each.on_gpu}".split("; ")]
    assert set(of) - names == {"floor", ""} and len(set(of) & names) == 2


@pytest.mark.slow
def test_rows_of_other_stages_and_devices_stay(tmp_path, measured):
    table, parts = measured
    file = tmp_path / "tables" / "benchmark.csv"
    first = table.assign(seconds=1.0)
    for frame in (first, first.assign(device="a GPU", target=""), table.iloc[[1]]):
        benchmark.write(frame, parts.assign(device=frame["device"].iloc[0]), file)
    found = pd.read_csv(file, keep_default_na=False)
    assert list(found.columns) == benchmark.COLUMNS and len(found) == 2 * len(table)
    ours = found[found["device"] == "cpu, 1 threads"]
    assert ours["stage"].tolist() == table["stage"].tolist()
    assert ours["seconds"].tolist() == pytest.approx([1.0, table["seconds"][1], *[1.0] * (len(table) - 2)], rel=1e-3)
    assert set(found[found["device"] == "a GPU"]["target"]) == {""}
    assert len(pd.read_csv(file.with_name("benchmark_parts.csv"))) == 2 * len(table)


def test_the_committed_table_for_people_is_that_of_the_numbers():
    folder = paths.figures() / "tables"
    table, parts = (pd.read_csv(folder / f"benchmark{end}.csv", keep_default_na=False) for end in ("", "_parts"))
    text = benchmark.markdown(table, parts)
    assert (folder / "benchmark.md").read_text(encoding="utf-8") == text, "run `make benchmark`"
    assert text.count("missed: ") == len(benchmark.missed(table)) > 0 and len(text.splitlines()) == 2 + len(table)


def test_stages_are_chosen_by_parts_of_their_names():
    assert [each.name for each in benchmark.chosen("rrd, Lists")] == [
        "teacher lists, d=100, all windows", "RRD epoch, d=20, K=40, L=40",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no stage's name contains 'xyz'; they are: teacher epoch"):
        benchmark.chosen("xyz")


def test_a_process_of_its_own_and_what_it_raises():
    assert alone(os.getpid) != os.getpid()
    with pytest.raises(FileNotFoundError):
        alone(os.stat, "/nonesuch")


def test_the_peak_forgets():
    limits.forget_peak("cpu")
    before = limits.peak("cpu")
    block = np.ones(2**26, dtype=np.uint8)
    assert limits.peak("cpu") >= before + 2**25
    assert block[0]
    del block


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    words = ["--quick", "--threads", "1", "--only", "BPR student"]
    assert main(words) == 0
    assert "BPR student epoch" in capsys.readouterr().out and not list(tmp_path.iterdir())
    out = tmp_path / "some.csv"
    assert main([*words, "--out", str(out)]) == 0
    assert len(pd.read_csv(out)) == 1 and f"written: {out}" in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--device", "cuda"]) == 2
    assert "there is no device 'cuda' here" in capsys.readouterr().err
    assert main([*words[:1], "--threads", "0"]) == 2


def test_the_page_has_every_twin_with_its_time():
    page = (paths.root() / "docs" / "speed.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in fast.__doc__.splitlines() if line.startswith("| `")]
    assert rows and all(f"| {row[4].strip()} |" in page for row in rows)

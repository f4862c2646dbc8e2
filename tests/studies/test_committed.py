"""What is committed hangs together: every picture and table has its source, every record its use."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from rdcore.files import paths
from studies.common.earlier import on_record
from studies.plans import all_runs
from studies.rd import efficiency

MEASURED = ("benchmark", "fuzz", "kills")  # tables of machines, which no notebook and no record is behind

FOR_PROGRAMS = {  # table that other programs read -> its columns
    "rd_table2 rd_table4 derrd_table2": "dataset,model,role,metric,protocol,reported,replicated,std,seeds,difference",
    "rd_table3": "dataset,model,role,device,quantity,reported,replicated,std,repeats,ratio_reported,ratio_replicated",
    "one_protocol": "dataset,model,method,metric,mean,std,seeds,trials,train_seconds",
    "benchmark": "stage,device,seconds,floor_seconds,ratio,target",
    "scorecard": "claim,source,verdict,reported,ours,low,high,p,seeds,seeds_needed,note,notebook",
    "ablations": "dataset,model,role,sweep,value,metric,mean,std,seeds,stage",
    "parity": "method,repository,commit,what,steps,max_difference,seconds_official,seconds_ours",
    "followups": "study,dataset,model,method,student_dim,epoch,metric,mean,std,seeds",
    "flexibility": "dataset,teacher,student,method,metric,gain,low,high,seeds",
    "cost": "dataset,role,model,dim,quality_metric,quality,bytes,latency_ms,batch,index",
}


@pytest.mark.parametrize("names", FOR_PROGRAMS)
def test_tables_for_programs_keep_their_names_and_columns(names: str) -> None:
    for name in names.split():
        first = (paths.figures() / "tables" / f"{name}.csv").read_text(encoding="utf-8").split("\n")[0]
        assert first == FOR_PROGRAMS[names], name


@pytest.fixture(scope="module")
def manifest() -> dict[str, dict]:
    return json.loads((paths.figures() / "MANIFEST.json").read_text())


def test_the_manifest_has_every_file_and_every_file_is_there(manifest) -> None:
    there = {file.relative_to(paths.figures()).as_posix() for file in paths.figures().rglob("*")
             if file.is_file() and file.suffix in (".png", ".pdf", ".csv", ".md", ".tex")}  # fmt: skip
    there = {name for name in there if name.split("/")[0] not in ("small", "smoke", "README.md")}
    assert {name for name in there if not name.startswith(tuple(f"tables/{start}" for start in MEASURED))} == set(manifest)


def test_every_source_still_writes_what_the_manifest_says(manifest) -> None:
    """By its name, or by the beginning of one that is put together: a table that nothing writes any more says old numbers.
    What a notebook saves under ``walk.name`` is of very small models on profile `paper`, and goes elsewhere."""
    for name, entry in manifest.items():
        source = paths.root() / "notebooks" / f"{entry['source']}.py"
        if source.exists():
            stem = name.split("/")[-1].split(".")[0]
            begun = re.findall(r'f"([0-9a-z_]+)\{', source.read_text())
            of_walk = re.findall(r'"([0-9a-z_]+)", walk\.name', source.read_text())
            written = {*re.findall(r'"([0-9a-z_]+)"', source.read_text())} - {*of_walk}
            assert stem in written or stem.startswith(tuple(begun)), f"{name}: {entry['source']} does not write it"


def test_the_table_of_the_released_code_names_the_runs_that_it_shows(manifest) -> None:
    """It once named all of Tables 2 and 4, so that records nothing shows seemed to be behind it."""
    shown = pd.read_csv(paths.figures() / "tables" / "rd_released.csv").query("metric == 'MAP'")
    assert len(manifest["tables/rd_released.csv"]["runs"]) == shown["seeds"].sum()


def test_every_record_is_behind_a_table_or_a_picture_and_the_other_way_round(manifest) -> None:
    """A record that is planned may wait until the notebooks are run again. Any other one that nothing shows has to go."""
    named = {key for entry in manifest.values() for key in entry["runs"]} - {efficiency.committed().key}
    records = {file.parent.name.rsplit("-", 1)[1]: file.parent.name for file in paths.replicated().glob("*/description.json")}
    later = {file.stem for file in paths.replicated().glob("followups/*.json")}
    assert named <= records.keys() | later, "made from a record that is not there"
    runs = all_runs("paper")
    planned = {run.key for run in [*runs, *on_record(runs)]}
    assert [records[key] for key in records.keys() - named - planned] == []

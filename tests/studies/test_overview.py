"""What notebook 00 says of runs that are missing."""

from dataclasses import replace

from studies import overview
from studies.common.profiles import PROFILES


def test_missing_runs_are_counted_by_data_set_stage_and_model_without_the_varied_setting() -> None:
    plan = PROFILES["smoke"].derrd[0]
    runs = [plan.teacher("L", 1), plan.student("L", 1), plan.student("L", 2), replace(plan.student("L", 1), role="S-share0.25"),
            replace(plan.student("L", 1), role="DE-RRD"),
            replace(plan.student("L", 1), dataset="other", role="RD-hybrid-K5")]  # fmt: skip
    table = overview.not_run(runs)
    assert table.to_dict("list") == {
        "data set": ["synthetic", "other"], "stage": ["L", "L"], "model": ["BPR", "BPR"], "runs": [5, 1],
        "roles": ["T, S, DE-RRD", "RD-hybrid"],
    }  # fmt: skip
    assert overview.not_run([]).empty

"""docs/models.md: its table is that of the models, and every model stands in it."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

import rdcore
from rdcore import models, serve
from rdcore.datasets import synthetic
from rdcore.models.base import built

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "models.py"
spec = importlib.util.spec_from_file_location("models_page", SCRIPT)
page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(page)


def test_the_table_is_up_to_date():
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.page(text), "python docs/models.py writes it"


def test_every_model_has_a_row():
    named = {type(settings).__name__ for settings, *_ in page.MODELS.values()}
    assert named == {name for name in models.__all__ if name.endswith("Settings")}
    assert named <= rdcore.PUBLIC.keys(), "the page names them without a module"


def test_what_it_says_of_lightgcn_and_sasrec_is_in_the_table():
    rows = pd.read_csv(page.TABLES / "published.csv").query("model == 'LightGCN'")
    (epochs,) = set(rows["epochs"])
    least, most = (f"{100 * bound:.1f} %" for bound in (rows["difference"].min(), rows["difference"].max()))
    said = " ".join(page.PAGE.read_text(encoding="utf-8").split())
    assert f"After {epochs:.0f} epochs our numbers are {least} to {most} above the log" in said
    rows = pd.read_csv(page.TABLES / "published.csv").query("model == 'SASRec-ce'").set_index("metric")
    below = (f"{-100 * rows.loc[metric, 'difference']:.1f} %" for metric in ("H@10", "N@10"))
    assert f"our H@10 and N@10 are {' and '.join(below)} below that README's" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", page.MODELS)
def test_what_it_says_of_the_export(name, tmp_path):
    settings, _, exports, _ = page.MODELS[name]
    data = synthetic.generate(n_users=20, n_items=40, min_length=8, max_length=12)
    model = built(settings, data) if hasattr(settings, "build") else settings.fit(data)
    if exports:
        serve.export(model, tmp_path / "x.onnx")
        serve.check(tmp_path / "x.onnx", model, data, range(20))
    else:
        with pytest.raises(ValueError, match="ONNX|onnx|export"):
            serve.export(model, tmp_path / "x.onnx")

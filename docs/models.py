"""Writes the table of docs/models.md out of the models themselves and the committed tables of results.

    python docs/models.py
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rdcore import models
from rdcore.datasets import synthetic
from rdcore.models.base import built, has_hints
from studies.common.reported import reported

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
TABLES = ROOT / "figures" / "tables"

# Settings on small data; what the model needs; ONNX; the rows of a table of results that stand beside a published number.
RD = "rd_table2", "dataset == 'gowalla' and metric == 'MAP' and model == '{}' and role == '{}' and protocol == 'fixed50'"
RD_CHOSEN = RD[0], RD[1].replace("fixed50", "validation")  # Fossil is best long before 50 epochs
DERRD = "derrd_table2", RD_CHOSEN[1].replace("gowalla", "citeulike").replace("MAP", "H@5")
LATER = "published", "model == '{}'"
FORMS = "published", "model.str.startswith('{}-')"  # a model with several losses, such as SASRec-ce
MODELS = {
    "BPR-MF": (models.BPRMFSettings(dim=2), "nothing but who has what", True, (DERRD, "BPR", "T")),
    "NeuMF": (models.NeuMFSettings(dim=2), "nothing but who has what; a small catalogue to be served", True, None),
    "Caser": (models.CaserSettings(dim=2), "the order of each user's items", True, (RD, "Caser", "T")),
    "Fossil": (models.FossilSettings(dim=2), "the order of each user's items", True, (RD_CHOSEN, "Fossil", "T")),
    "SASRec": (models.SASRecSettings(dim=2), "the order of each user's items", True, (FORMS, "SASRec", "")),
    "LightGCN": (models.LightGCNSettings(dim=2), "the graph of who has what, in memory", True, (LATER, "LightGCN", "")),
    "EASE": (models.EASESettings(), "memory: 4 or 8 bytes x (users or items, whichever are fewer) squared", False,
             (LATER, "EASE", "")),
    "iALS": (models.IALSSettings(dim=2), "nothing but who has what", True, None),
    "GF-CF": (models.GFCFSettings(), "memory: 256 singular vectors; users x block for scores", False, (LATER, "GF-CF", "")),
    "ItemCF": (models.ItemCFSettings(), "nothing but who has what", False, (RD, "ItemCF", "baseline")),
    "POP": (models.PopularitySettings(), "nothing but counts", True, (RD, "POP", "baseline")),
}  # fmt: skip
DATA = {"gowalla": "Gowalla", "citeulike": "CiteULike", "gowalla-m1": "Gowalla m1", "amazon-beauty": "Amazon Beauty"}


def beside(where) -> str:
    """Published numbers and ours, such as 'Gowalla, MAP .0958: ours .0964'; of a trained later model, after how many epochs."""
    (table, query), *names = where
    file = TABLES / f"{table}.csv"
    rows = pd.read_csv(file).query(query.format(*names)).dropna(subset="replicated") if file.exists() else pd.DataFrame()
    said = []
    for _, row in rows.iterrows():
        known = row["published"] if "published" in row else row["reported"]
        ours = f"{row['replicated']:.4f}".lstrip("0")
        word = "" if pd.isna(known) else f"{known:.4f}: ".lstrip("0")
        first = row["metric"] == rows.iloc[0]["metric"]  # of a form
        loss = f"{row['model'].partition('-')[2]}" * (where[0] == FORMS)
        epochs = f"{row['epochs']:.0f} epochs" if not pd.isna(row.get("epochs")) else ""
        said.append((", ".join(filter(None, (loss, epochs))) + ": ") * bool(first and (loss or epochs))
                    + f"{row['metric']} {word}ours {ours}")  # fmt: skip
    if where[0] == LATER:
        said += longer(rows)
    return f"{DATA[rows.iloc[0]['dataset']]}, " + "; ".join(said) if said else "-"


def longer(rows: pd.DataFrame) -> list[str]:
    """Published numbers of the model after other numbers of epochs than ours, a text for each."""
    numbers = reported("models")
    others = numbers[(numbers["model"] == rows.iloc[0]["model"]) & ~numbers["epochs"].isin(["", "chosen"])]
    others = others[others["epochs"].astype(float) != rows.iloc[0]["epochs"]].groupby("epochs", sort=False)
    values = {epochs: ", ".join(f"{value:.4f}".lstrip("0") for value in group["value"]) for epochs, group in others}
    return [f"published after {int(epochs):,} epochs: {text}" for epochs, text in values.items()]


def lines() -> list[str]:
    """The table, line by line."""
    data = synthetic.generate(n_users=20, n_items=40, min_length=8, max_length=12)
    head = ["model", "settings", "may teach", "may learn", "has vectors (for DE and its like)", "needs", "ONNX",
            "published number, and ours"]  # fmt: skip
    found = [head, ["---"] * len(head)]
    for name, (settings, needs, onnx, where) in MODELS.items():
        learns = hasattr(settings, "build")
        model = built(settings, data) if learns else settings.fit(data)
        found.append([
            name, f"`{type(settings).__name__}`", "yes", "yes" if learns else "no: computed",
            "yes" if has_hints(model) else "no", needs, "yes" if onnx else "no", beside(where) if where else "-",
        ])  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in found]


def page(text: str) -> str:
    """The page with its table as it is now."""
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n" + "\n".join(lines()) + f"\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

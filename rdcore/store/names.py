"""What people call a run, from its description."""

from __future__ import annotations


def label(description: dict) -> str:
    """Data set, stage, model unless it is Caser, role, size and seed, such as
    'gowalla-F-RD-hybrid-d50-seed1'."""
    d, model = description, family(description)
    parts = [d["dataset"], d["stage"], *([model] if model != "Caser" else []), d["role"]]
    parts += [f"d{d['model']['dim']}"] if "dim" in d["model"] else []
    return "-".join([*parts, f"seed{d['seed']}"])


def family(description: dict) -> str:
    """The run's model as the papers' tables call it."""
    name = description["model"]["type"].removesuffix("Settings")
    return {"BPRMF": "BPR", "Popularity": "POP", "GFCF": "GF-CF", "IALS": "iALS"}.get(name, name)


def trained(description: dict) -> bool:
    """Whether the model has anything to train: the others are computed from the data."""
    return family(description) not in ("POP", "ItemCF", "EASE", "GF-CF", "iALS")


def choice_name(description: dict, role: str = "") -> str:
    """The name under which the epoch of such a run is chosen: its role, after the model's name
    unless that is Caser."""
    role, model = role or description["role"], family(description)
    return role if model == "Caser" else f"{model} {role}"

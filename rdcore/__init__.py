"""rdcore: train a small recommender to rank like a large one (ranking distillation).

    import rdcore

    clicks = rdcore.load("ml-100k")            # or rdcore.from_frame(frame, user=..., item=..., time=...)
    teacher = rdcore.fit(clicks, rdcore.CaserSettings(dim=100))
    method = rdcore.RDSettings(weights=rdcore.Position(lam=10))
    student = rdcore.fit(clicks, rdcore.CaserSettings(dim=20), teacher=teacher, method=method)
    print(rdcore.compare({"teacher": teacher, "student": student}, clicks))

Everything else is in rdcore.data, rdcore.models, rdcore.distill, rdcore.train and rdcore.eval: the method; and in
rdcore.datasets, rdcore.store and rdcore.serve: what surrounds it.
"""

import importlib

from rdcore import _moved

__version__ = "0.2.0"

_moved.install()

# Public name -> its module. A name is imported when it is first used: `import rdcore` itself does not import torch.
PUBLIC = {
    "BDSettings": "rdcore.distill",
    "BPRMFSettings": "rdcore.models",
    "BothSettings": "rdcore.distill",
    "CDSettings": "rdcore.distill",
    "CaserSettings": "rdcore.models",
    "DCDSettings": "rdcore.distill",
    "DESettings": "rdcore.distill",
    "DLLM2RecSettings": "rdcore.distill",
    "Discrepancy": "rdcore.distill",
    "EASESettings": "rdcore.models",
    "Equal": "rdcore.distill",
    "FTDSettings": "rdcore.distill",
    "FitSettings": "rdcore.distill",
    "FossilSettings": "rdcore.models",
    "FreqDSettings": "rdcore.distill",
    "GFCFSettings": "rdcore.models",
    "HTDSettings": "rdcore.distill",
    "HetCompSettings": "rdcore.distill",
    "Hybrid": "rdcore.distill",
    "IALSSettings": "rdcore.models",
    "IRRRDSettings": "rdcore.distill",
    "ItemCFSettings": "rdcore.models",
    "KDCESettings": "rdcore.distill",
    "LightGCNSettings": "rdcore.models",
    "NeuMFSettings": "rdcore.models",
    "PCKDSettings": "rdcore.distill",
    "PopularitySettings": "rdcore.models",
    "Position": "rdcore.distill",
    "RCEKDSettings": "rdcore.distill",
    "RDSettings": "rdcore.distill",
    "RRDSettings": "rdcore.distill",
    "RankDistilSettings": "rdcore.distill",
    "Reciprocal": "rdcore.distill",
    "SASRecSettings": "rdcore.models",
    "Training": "rdcore.train.loop",
    "Trajectories": "rdcore.distill",
    "UnKDSettings": "rdcore.distill",
    "VkDSettings": "rdcore.distill",
    "compare": "rdcore.api",
    "evaluate": "rdcore.api",
    "fit": "rdcore.api",
    "from_frame": "rdcore.datasets.frames",
    "load": "rdcore.datasets",
    "read_lists": "rdcore.store.lists",
    "recommend": "rdcore.api",
    "stage": "rdcore.data",
}

__all__ = sorted(PUBLIC)


def __getattr__(name: str):
    if name not in PUBLIC:
        raise AttributeError(f"module 'rdcore' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})

"""Where and how a run was made: recorded with the run, not part of its key."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time

import torch

from rdcore.files import paths

# Which of them are set is recorded: they choose threads, or the instructions by which numbers are rounded.
VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_CBWR", "MKL_DYNAMIC", "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF", "PYTHONHASHSEED",
)  # fmt: skip
PACKAGES = ("rdcore", "torch", "numpy", "scipy", "pandas")


def environment(device: str, state: dict) -> dict:
    """What is recorded of a run with this training ``state``.

    teacher_weights: sha256 of the file of weights that taught it, None without a teacher. A teacher
    that was trained again elsewhere has other weights under the same key. rows_used: the share of the
    fitted rows that are targets of training instances, None for a counted model. n_short: how many
    of a distillation's lists or samples are shorter than asked for, None without one.
    """
    gpu = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else None
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "device": gpu or "cpu",
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "commit": state.get("commit") or commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(state["seconds"], 1),
        "resumed": state["resumed"],
        "teacher_weights": state.get("teacher_weights"),
        "rows_used": state.get("rows_used"),
        "n_short": state.get("n_short"),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The commit of the checkout, with '+' where files differ from it; 'unknown' outside of a
    checkout."""
    try:
        git = ["git", "-C", str(paths.root())]
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "rdcore"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")

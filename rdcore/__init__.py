"""rdcore: ranking distillation for recommenders, replicated (models, losses, metrics, run records)."""

__version__ = "0.1.0"

"""Models that came after the three papers, and teachers without a training loop: one file a
model."""

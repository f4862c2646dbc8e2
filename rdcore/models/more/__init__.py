"""Models that came after the three papers, and teachers without training: one file for each model."""

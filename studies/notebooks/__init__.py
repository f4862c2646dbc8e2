"""Notebooks in batch, and their pairing with the .py sources."""

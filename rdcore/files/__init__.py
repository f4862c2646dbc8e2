"""Paths, locks, atomic writes, the live view: everything that touches the disk below the store."""

"""Metrics per user, full ranking, leave-one-out, significance."""

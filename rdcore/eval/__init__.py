"""Metrics per user, full ranking, leave-one-out, groups of users and items, significance."""

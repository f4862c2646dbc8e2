"""What several studies share: records as tables, matched runs, selection, pictures."""

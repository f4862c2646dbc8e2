"""What came after the three papers: one method a file, each true to its source."""

"""The papers, a room each: plans of runs, tables, figures, claims."""

"""The run store: description of a run, records, resume, sweeps."""

"""The paper's tables, filled from a run: each function returns a `Table`, or None if not wanted."""

"""Which rows a run has and where they stand in their files."""

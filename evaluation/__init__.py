"""The evaluation layer: the paper's benchmarks over every model of a run, and over recorded files."""

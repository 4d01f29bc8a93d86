"""The evaluation layer: the paper's benchmarks on every model of a run and on recorded files."""

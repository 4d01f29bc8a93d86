"""The evaluation layer (built in part 2): benchmarks over every model of a run."""

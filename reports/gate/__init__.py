"""The regression gate and the comparison of runs."""

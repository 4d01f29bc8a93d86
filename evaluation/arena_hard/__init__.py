"""Arena-Hard: win rate against a baseline model on hard questions, judged in both orders.

Source: Li et al. 2024, "From Crowdsourced Data to High-Quality Benchmarks: Arena-Hard and
BenchBuilder Pipeline" (arXiv 2406.11939); recorded judgments of v0.1 and v2.0 are read.
"""

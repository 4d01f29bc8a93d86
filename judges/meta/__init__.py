"""Meta-judging: a judge compares judgments of one answer, so that judging itself can be trained.

Source: Wu et al. 2024, "Meta-Rewarding Language Models" (arXiv 2407.19594), section 2.2.
"""

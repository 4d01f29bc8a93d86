"""Human evaluation: annotators compare two models' answers blindly (Figure 5), or rank replies.

`prepare.py` makes a study's folder, server/ serves it, `vote_store.py` stores the answers,
`votes.py` and `rankings.py` read and export them. See docs/human_evaluation.md.
"""

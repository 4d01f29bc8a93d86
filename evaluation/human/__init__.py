"""A blind study by people: which of two models' answers is better (Figure 5), or how replies rank.

`prepare.py` makes a study's folder, `pages.py` and `server.py` show it, `ballots.py` keeps what is
said, `votes.py` and `rankings.py` read it back and export it. See docs/human_evaluation.md.
"""

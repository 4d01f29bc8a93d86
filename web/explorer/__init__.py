"""Reading a run in the browser: what the loop did, row by row, and what the judges said.

core/reader.py says what a run has and index.py where its rows stand; loop.py, chain.py,
head_to_head.py, alpaca.py, grades.py, nlp_items.py and judging.py make pages (pages.py) of them;
routes.py gives each page its address. Nothing here writes into the run.
"""

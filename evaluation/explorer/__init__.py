"""Reading a run in the browser: what the loop did, row by row, and what the judges said.

run_folder.py says what a run has; index.py finds its rows; loop.py, comparisons.py, grades.py and
judging.py make pages (pages.py) of them; app.py gives each page its address. Nothing here writes
into the run.
"""

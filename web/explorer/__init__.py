"""The run explorer: a run's prompts, judgments, pairs, answers and scores in the browser.

core/reader.py says what a run has, index/ finds its rows, and views/ makes pages (pages.py) of
them; views/table.py lists the views, from which app.py makes the addresses. Read-only.
"""

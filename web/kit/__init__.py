"""Shared by the two web servers, the human study (evaluation/human) and the run explorer.

app.py: the FastAPI app, templates and static files; guard.py: checks and headers of every request;
text.py: untrusted text as safe HTML; serving.py: the port.
"""

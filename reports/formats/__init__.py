"""Rendering a report: HTML, Markdown, LaTeX, CSV, SVG."""

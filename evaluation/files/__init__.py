"""Commands on files: score, compare, import and export results."""

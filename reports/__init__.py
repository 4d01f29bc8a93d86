"""Reports (built in part 3): tables, figures and the regression gate, from artifacts alone."""

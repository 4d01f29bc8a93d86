"""Reports: tables, figures, comparison of runs and the regression gate, from artifacts alone."""

"""AlpacaEval 2.0 (Table 1, Figures 4 and 11)."""

"""NLP benchmarks through lm-eval (Tables 3 and 9)."""

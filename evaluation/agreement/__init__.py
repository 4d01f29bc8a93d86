"""A model as a judge against human rankings (Table 4)."""

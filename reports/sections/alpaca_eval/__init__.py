"""AlpacaEval 2.0: win rates of the models, and win rates by kind of instruction."""

from __future__ import annotations

from reports.sections.alpaca_eval import by_tag, win_rates
from reports.sections.section import of_models, section_of

SECTION = section_of(
    "alpaca_eval",
    "AlpacaEval 2.0",
    figures=(win_rates.figure, *by_tag.FIGURES),
    tables=(win_rates.table, *by_tag.TABLES),
    rows=of_models(win_rates.rows),
)

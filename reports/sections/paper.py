"""The paper's own results as tables, separate from the run's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.document import Cell, Published, Section, Table, TableRow
from reports.published import published
from reports.sections.cells import label
from reports.sections.section import ReportSection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WHOSE = (
    "Yuan et al. (ICML 2024, arXiv 2401.10020 v3): Llama 2 70B, judged by GPT-4. These numbers are "
    "not from this run, and nothing above was measured under their conditions unless a table above "
    "says so."
)
_JUDGES = {"sft_li": "SFT baseline, Li et al.'s prompt"}


def section() -> Section:
    """Return what the paper reports."""
    return Section(
        "paper",
        "What the paper reports",
        paragraphs=(_WHOSE,),
        tables=(
            _matchups("paper_head_to_head", "Head to head (%)", "Figure 3", published.HEAD_TO_HEAD),
            _one(
                "paper_alpaca_eval",
                "AlpacaEval 2.0 win rate (%)",
                "Table 1",
                {**published.ALPACA_EVAL, **published.LEADERBOARD},
            ),
            _many(
                "paper_mt_bench",
                "MT-Bench",
                "Tables 2 and 10",
                [key.removeprefix("category/") for key in published.MT_BENCH_KEYS],
                published.MT_BENCH,
            ),
            _many(
                "paper_nlp",
                "NLP benchmarks (%)",
                "Tables 3 and 9",
                published.NLP_KEYS,
                published.NLP,
            ),
            _many(
                "paper_agreement",
                "Reward modelling",
                "Table 4",
                published.AGREEMENT_KEYS,
                {_JUDGES.get(name, name): found for name, found in published.AGREEMENT.items()},
                digits=(1, 1, 1, 3, 3),
            ),
            _matchups("paper_human", "Human evaluation (%)", "Figure 5", published.HUMAN),
            _counts(),
        ),
    )


def _matchups(
    key: str, title: str, source: str, found: Mapping[tuple[str, str], published.Rates]
) -> Table:
    rows = {f"{label(a)} vs {label(b)}": rates for (a, b), rates in found.items()}
    names = ("win", "tie", "lose")
    return _many(key, title, source, names, rows, head="matchup", digits=(1, 1, 1))


def _counts() -> Table:
    counts = {
        "IFT examples": published.IFT_EXAMPLES,
        "EFT examples (training)": published.EFT_EXAMPLES,
        "EFT examples (evaluation)": published.EFT_EVALUATION_EXAMPLES,
        "preference pairs AIFT(M1), for M2": published.PAIRS[2],
        "preference pairs AIFT(M2), for M3": published.PAIRS[3],
    }
    rows = {name: (found.value,) for name, found in counts.items()}
    return _many(
        "paper_training_data",
        "Training data (rows)",
        published.TRAINING_SOURCE,
        ("count",),
        rows,
        head="data",
        digits=(0,),
    )


def _one(key: str, title: str, source: str, found: Mapping[str, float]) -> Table:
    ordered = dict(sorted(found.items(), key=lambda entry: -entry[1]))
    return _many(key, title, source, ("win rate",), {k: (v,) for k, v in ordered.items()})


def _many(
    key: str,
    title: str,
    source: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[float]],
    *,
    head: str = "model",
    digits: Sequence[int] = (),
) -> Table:
    return Table(
        key,
        title,
        head,
        tuple(name.replace("_", " ") for name in columns),
        tuple(
            TableRow(
                label(name),
                tuple(
                    Cell(digits=places, published=Published(value, source))
                    for value, places in zip(values, digits or (2,) * len(values), strict=True)
                ),
                kind="published",
            )
            for name, values in rows.items()
        ),
        origin=source,
    )


SECTION = ReportSection(lambda results: (section(),) if results.config is not None else ())

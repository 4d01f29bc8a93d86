"""The first section: progress of the run, the judge, and the headline numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.document import Cell, Section, Table, TableRow
from reports.sections.cells import cell_of, label
from reports.sections.section import ReportSection

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.reader import RunReader

_TITLES = {
    "head_to_head": "head to head",
    "alpaca_eval": "AlpacaEval",
    "mt_bench": "MT-Bench",
    "nlp": "NLP benchmarks",
    "agreement": "agreement with human rankings",
    "human": "human evaluation",
    "self_judge": "self-judge check",
    "contamination": "contamination",
}
_BASELINE = "sft"


def section(results: RunReader) -> Section:
    """Return the summary: sentences on what was measured, and one table with a row per model."""
    return Section(
        "summary",
        "Summary",
        paragraphs=(*_coverage(results), *_judge(results), *_data(results)),
        tables=(_table(results),) if results.models else (),
    )


def _coverage(results: RunReader) -> list[str]:
    """Say what is there, what failed and what was not tried."""
    everything = results.subjects()
    done = [one for one in everything if results.scores(one.address)]
    failed = {one.address: results.failure(one.address) for one in everything if one not in done}
    wording = [f"{len(done)} of {len(everything)} evaluations are done."]
    empty = [one.address for one in done if _is_empty(results, one)]
    if empty:
        wording.append(
            f"{len(empty)} of them have no score, because no reply could be parsed or compared "
            f"({', '.join(empty)}); the tables give the reasons."
        )
    broken = [f"{address} ({why})" for address, why in failed.items() if why is not None]
    if broken:
        wording.append(f"Failed: {'; '.join(broken)}.")
    untried: dict[str, int] = {}
    for one in everything:
        if one not in done and failed[one.address] is None:
            untried[one.benchmark] = untried.get(one.benchmark, 0) + 1
    if untried:
        named = ", ".join(f"{_TITLES[name]} {count}" for name, count in untried.items())
        wording.append(f"Not measured yet: {named}. The tables give the reasons.")
    return [" ".join(wording)]


def _is_empty(results: RunReader, one: Subject) -> bool:
    """Whether a benchmark ran and its first headline number could not be measured."""
    score = results.scores(one.address).get(one.facts.headline)
    return score is not None and score.value is None


def _data(results: RunReader) -> list[str]:
    """Say which benchmarks use the packaged sample, and that items are few."""
    if results.config is None:
        return []
    section = results.config.evaluation
    sources = {
        "head to head": section.head_to_head.prompts,
        "AlpacaEval": section.alpaca_eval.prompts,
        "NLP benchmarks": section.nlp.data_dir,
        "agreement": results.config.eft.source.path,
    }
    sample = [name for name, source in sources.items() if source == "sample"]
    if not sample:
        return []
    return [
        f"Sample data: {', '.join(sample)} use the packaged sample items, written for this "
        "project. They show that the pipeline works end to end; they are not comparable with the "
        "paper's results."
    ]


def _judge(results: RunReader) -> list[str]:
    """Say who judged, if anybody did."""
    if results.config is None:
        return ["These results were imported from recorded files; nothing was run here."]
    if not any(results.scores(one.address) for one in results.subjects() if one.facts.judged):
        return []
    judge = results.config.evaluation.judge
    if judge.backend == "openai":
        return [f"Answers were compared and graded by {judge.model} (OpenAI protocol)."]
    return [
        f"Answers were compared and graded by {judge.model}, a local model instead of GPT-4: "
        "scores reflect this judge and are not comparable with any leaderboard."
    ]


def _table(results: RunReader) -> Table:
    models = results.models
    columns: dict[str, tuple[str, str, int]] = {
        "AlpacaEval win rate": ("alpaca_eval", "win_rate", 2),
        "length-controlled": ("alpaca_eval", "length_controlled_win_rate", 2),
        "MT-Bench": ("mt_bench", "overall", 2),
        "pairwise accuracy": ("agreement", "pairwise_accuracy", 1),
        "answer length": ("alpaca_eval", "avg_length", 0),
    }
    used = {
        name: found
        for name, found in columns.items()
        if results.config is not None or any(results.scores(f"{m}/{found[0]}") for m in models)
    }
    against = [m for m in models if (m, _BASELINE) in results.matchups]
    rows = []
    for model in models:
        cells = [
            cell_of(results, f"{model}/{benchmark}", key, digits=digits)
            for benchmark, key, digits in used.values()
        ]
        if against:
            cells.insert(0, _net(results, model, against))
        rows.append(TableRow(label(model), tuple(cells)))
    first = ("net wins against SFT",) if against else ()
    return Table(
        "summary",
        "Overview of the models",
        "model",
        (*first, *used),
        tuple(rows),
        notes=(
            "Net wins: wins minus losses, % of prompts. Win rates and pairwise accuracy in %, "
            "MT-Bench in points from 1 to 10, length in characters. Small print: the 95 % "
            "interval and the number of items.",
        ),
    )


def _net(results: RunReader, model: str, against: list[str]) -> Cell:
    if model not in against:
        return Cell()
    return cell_of(results, f"head_to_head/{model}-{_BASELINE}", "net", digits=1)


SECTION = ReportSection(lambda results: (section(results),))

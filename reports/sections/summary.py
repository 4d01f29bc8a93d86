"""The first section: progress of the run, the judge, and the headline numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.benchmarks import SCORING
from core.stages import Stage
from reports.document import Table, TableRow
from reports.published import condition_differences
from reports.published.comparable import external_judges
from reports.sections import improvement
from reports.sections.cells import EMPTY, GRADED, cell_of, label, listed
from reports.sections.section import section_of

if TYPE_CHECKING:
    from core.reader import RunReader

_TITLES = {
    "head_to_head": "head to head",
    "alpaca_eval": "AlpacaEval",
    "agreement": "agreement with human rankings",
    "human": "human evaluation",
    "self_judge": "self-judge check",
    "contamination": "contamination",
}
_ON_SAMPLE = {
    "head_to_head": "head to head",
    "alpaca_eval": "AlpacaEval",
    "nlp": "NLP benchmarks",
    "ifeval": "IFEval",
    "agreement": "agreement",
}
_COLUMNS = {
    "AlpacaEval win rate": ("alpaca_eval", "win_rate", 2),
    "length-controlled": ("alpaca_eval", "length_controlled_win_rate", 2),
    **{facts.title: (facts.name, facts.headline, 2) for facts in GRADED},
    "pairwise accuracy": ("agreement", "pairwise_accuracy", 1),
    "answer length": ("alpaca_eval", "avg_length", 0),
}


def _coverage(results: RunReader) -> str:
    """Say what is there, what failed and what was not tried."""
    everything = results.subjects()
    done = [one for one in everything if results.scores(one.address)]
    failed = {one.address: results.failure(one.address) for one in everything if one not in done}
    wording = [f"{len(done)} of {len(everything)} evaluations are done."]
    first = {one: results.scores(one.address).get(one.facts.headline) for one in done}
    empty = [one.address for one, s in first.items() if s is not None and s.value is None]
    if empty:
        wording.append(
            f"{len(empty)} of them have no score, because no reply could be parsed or compared "
            f"({', '.join(empty)}); the tables give the reasons."
        )
    broken = [f"{address} ({why})" for address, why in failed.items() if why is not None]
    if broken:
        wording.append(f"Failed: {'; '.join(broken)}.")
    untried = Counter(
        _TITLES.get(one.benchmark, one.facts.title)
        for one in everything
        if failed.get(one.address, "") is None
    )
    if untried:
        named = ", ".join(f"{name} {count}" for name, count in untried.items())
        wording.append(f"Not measured yet: {named}. The tables give the reasons.")
    made = {one.address: results.manifest(one.ref(Stage.SCORES)) for one in done}
    old = [address for address, m in made.items() if not SCORING.items() <= m.key.inputs.items()]
    if old:
        wording.append(
            f"{len(old)} of them were scored by an earlier release's rules ({', '.join(old)}); "
            "`make eval-all ARGS='--redo stale'`, `srlm-eval import` or `srlm-eval human-results` "
            "score them again from what is there."
        )
    return " ".join(wording)


def _data(results: RunReader) -> list[str]:
    """Say which benchmarks use the packaged sample, and that items are few."""
    found = condition_differences.on_sample(results)
    sample = ", ".join(_ON_SAMPLE[name] for name, is_sample in found.items() if is_sample)
    if not sample:
        return []
    return [
        f"Sample data: {sample} use the packaged sample items, written for this "
        "project. They show that the pipeline works end to end; they are not comparable with the "
        "paper's results."
    ]


def _judge(results: RunReader) -> list[str]:
    """Say who judged, if anybody did, by what the manifests of the judgments record."""
    if results.only_imported:
        return ["These results were imported from recorded files; nothing was run here."]
    judges = external_judges(results)
    if not judges:
        return []
    local = [judge for judge in judges if not judge.startswith("openai/")]
    named = [
        f"{condition_differences.shown_judge(judge)} "
        + ("(a local model instead of GPT-4)" if judge in local else "(OpenAI protocol)")
        for judge in judges
    ]
    caveat = ": scores reflect this judge and are not comparable with any leaderboard"
    return [f"Answers were compared and graded by {listed(named)}{caveat if local else ''}."]


def _table(results: RunReader) -> Table | None:
    models = results.models
    if not models:
        return None
    used = {
        name: found
        for name, found in _COLUMNS.items()
        if not results.only_imported or any(results.scores(f"{m}/{found[0]}") for m in models)
    }
    against = [m for m in models if (m, "sft") in results.matchups]
    rows = []
    for model in models:
        cells = [
            cell_of(results, f"{model}/{benchmark}", key, digits=digits)
            for benchmark, key, digits in used.values()
        ]
        if model in against:
            cells.insert(0, cell_of(results, f"head_to_head/{model}-sft", "net", digits=1))
        elif against:
            cells.insert(0, EMPTY)
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


SECTION = section_of(
    "summary",
    "Summary",
    paragraphs=lambda results: (_coverage(results), *_judge(results), *_data(results)),
    tables=(_table, improvement.table),
)

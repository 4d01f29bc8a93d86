"""What stands in a run's report, in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.stages import model_ref
from reports import story, summary
from reports.document import Report, Section
from reports.figures import FIGURES
from reports.published import paper_tables
from reports.rows import groups
from reports.tables import (
    alignment_tax,
    alpaca_eval,
    breakdowns,
    head_to_head,
    human,
    judge_of_pairs,
    lengths,
    mt_bench,
    nlp,
    reward_modelling,
    training_data,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.document import Artifact, Figure, Table
    from reports.results import RunResults


def report_of(results: RunResults, artifacts: Mapping[str, Artifact], *, most_rows: int) -> Report:
    """Return the report of a run: summary, benchmarks, how the data was made, the paper's numbers.

    Args:
        results: the run.
        artifacts: its verified artifacts, by address.
        most_rows: rows kept behind one number.
    """
    figures = {key: draw(results) for key, draw in FIGURES.items()}

    def part(key: str, title: str, names: Sequence[str], tables: Sequence[Table | None]) -> Section:
        drawn: list[Figure] = [f for name in names if (f := figures[name]) is not None]
        found = [table for table in tables if table is not None]
        return Section(key, title, figures=tuple(drawn), tables=tuple(found))

    sections = [
        summary.section(results),
        part(
            "head_to_head",
            "Head to head",
            ["head_to_head"],
            [head_to_head.table(results), judge_of_pairs.table(results)],
        ),
        part(
            "alpaca_eval",
            "AlpacaEval 2.0",
            [
                "alpaca_eval",
                "alpaca_eval_category",
                "alpaca_eval_complexity",
                "alpaca_eval_length",
            ],
            [
                alpaca_eval.table(results),
                breakdowns.category(results),
                breakdowns.complexity(results),
                breakdowns.length(results),
            ],
        ),
        part("mt_bench", "MT-Bench", ["mt_bench"], [mt_bench.table(results)]),
        part(
            "nlp",
            "NLP benchmarks",
            ["alignment_tax"],
            [nlp.table(results), alignment_tax.table(results)],
        ),
        part(
            "agreement",
            "The models as judges",
            [],
            [reward_modelling.table(results), reward_modelling.readings(results)],
        ),
        replace(
            part(
                "human",
                "Human evaluation",
                ["human"],
                [human.table(results), human.people(results), human.judge(results)],
            ),
            paragraphs=human.words(results),
        ),
        part("lengths", "Answer lengths", ["answer_lengths"], [lengths.table(results)]),
        part("data", "Training data", ["data_distribution"], [training_data.table(results)]),
        *story.sections(results),
    ]
    if results.config is not None:
        sections.append(paper_tables.section())
    kept = [s for s in sections if s.tables or s.figures or s.paragraphs]
    return Report(
        f"Self-Rewarding Language Models: {results.name}",
        _facts(results, artifacts),
        tuple(kept),
        groups(results, most=most_rows),
        artifacts,
    )


def _facts(results: RunResults, artifacts: Mapping[str, Artifact]) -> tuple[tuple[str, str], ...]:
    """Return what identifies the run: base model, seed, versions, when it was finished."""
    facts = [("run", results.name)]
    if results.config is not None:
        config = results.config
        facts += [("base model", _base(results, config.model.base)), ("seed", str(config.seed))]
        facts.append(("judge", config.evaluation.judge.model))
    versions = sorted({artifact.code_version for artifact in artifacts.values()})
    facts.append(("srlm", ", ".join(versions)))
    if artifacts:
        facts.append(("finished", max(a.finished_at for a in artifacts.values())))
    facts.append(("artifacts", str(len(artifacts))))
    return tuple(facts)


def _base(results: RunResults, name: str) -> str:
    """Return where M0 came from: its manifest knows more than the setting's short name."""
    if not results.exists(model_ref(0)):
        return name
    return str(results.manifest(model_ref(0)).facts.get("origin", name))

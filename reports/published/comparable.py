"""May published numbers stand beside a run's? Plain clauses that say why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.stages import Stage, evaluation_ref
from reports.published import departures
from reports.published.departures import ANNOTATOR, JUDGED, REFERENCE
from reports.published.published import ALPACA_EVAL_PROMPTS, MT_BENCH_QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.config import Config
    from reports.results import RunResults

_TURNS = 2 * MT_BENCH_QUESTIONS

# A file may lack a few rows and still be the one that a leaderboard was computed from:
# text_davinci_001's has 803 of 805. Two absent rows move a win rate by at most 0.25 points.
_LEAST_COMPLETE = 0.99


def obstacles(results: RunResults, benchmark: str) -> tuple[str, ...]:
    """Return why the paper's numbers may not stand beside those of a run's own models.

    () if they may. Clauses without a full stop, for `note`. Imported results have nothing to do
    with the paper's models: see `imported_obstacles`.

    Args:
        results: the run.
        benchmark: head_to_head, alpaca_eval, mt_bench, nlp (all tasks), nlp/TASK, agreement, human,
            or "lengths" (AlpacaEval's answers, whatever the judge said of them).
    """
    config = results.config
    if config is None:
        return ("the results were imported, they are not of models that this run trained",)
    found = [*departures.base_model(results, config), *_others(results, config, benchmark)]
    return tuple(dict.fromkeys(found))


def _others(results: RunResults, config: Config, benchmark: str) -> Iterator[str]:
    name, _, task = benchmark.partition("/")
    if name == "alpaca_eval":
        yield from leaderboard_obstacles(results)
    elif name == "lengths":
        yield from departures.alpaca_prompts(results, config)
    elif name == "head_to_head":
        yield from departures.head_to_head_prompts(results, config)
        yield from departures.judge_not_gpt_4(results, config, name)
    elif name == "mt_bench":
        yield from departures.questions(results)
        yield from departures.judge_not_gpt_4(results, config, name)
    elif name == "nlp":
        for one in (task,) if task else config.evaluation.nlp.tasks:
            yield from departures.items(results, config, one)
    elif name == "agreement":
        yield from departures.ranked_replies(results, config)
    elif name == "human":
        yield from departures.people(results)
    else:
        raise ValueError(f"nothing is published of {benchmark!r}")


def leaderboard_obstacles(results: RunResults) -> tuple[str, ...]:
    """Return why other systems' AlpacaEval numbers may not stand in the same table.

    They need the same prompts, reference and judge; which models are compared does not matter.
    """
    if results.config is not None:
        found = [
            *departures.alpaca_prompts(results, results.config),
            *departures.annotation(results, results.config),
        ]
    else:
        places = [f"{model}/alpaca_eval" for model in results.models]
        found = [
            clause
            for address in places
            if imported(results, address) is not None
            for clause in imported_obstacles(results, address)
        ]
    return tuple(dict.fromkeys(found))


def imported(results: RunResults, address: str) -> dict[str, Any] | None:
    """Return the facts of imported results ("imported", "model", "judge", ...); None for others."""
    for stage in (Stage.SCORES, Stage.ANNOTATIONS, Stage.TURN_JUDGMENTS):
        ref = evaluation_ref(address, stage)
        if results.exists(ref) and "imported" in (facts := results.manifest(ref).facts):
            return dict(facts)
    return None


def imported_obstacles(results: RunResults, address: str) -> tuple[str, ...]:
    """Return why numbers published for an imported model may not stand beside its results.

    Raises:
        ValueError: the results were not imported.
    """
    facts = imported(results, address)
    if facts is None:
        raise ValueError(f"{address} was not imported")
    of_alpaca = address.endswith("/alpaca_eval")
    found = [*(_alpaca_differs(facts) if of_alpaca else _judge_differs(facts))]
    score = results.scores(address).get("win_rate" if of_alpaca else "overall")
    count = score.n if score is not None else 0
    whole, what = (ALPACA_EVAL_PROMPTS, "prompts") if of_alpaca else (_TURNS, "turns")
    if count < _LEAST_COMPLETE * whole:
        found.append(f"{facts['imported']} has {count} of {whole} {what}")
    return tuple(found)


def _alpaca_differs(facts: dict[str, Any]) -> Iterator[str]:
    if (annotator := facts.get("annotator")) != ANNOTATOR:
        yield f"the annotator of {facts['imported']} is {annotator}, the leaderboard's {ANNOTATOR}"
    if (reference := facts.get("reference")) != REFERENCE:
        yield f"the reference of {facts['imported']} is {reference}, the leaderboard's {REFERENCE}"


def _judge_differs(facts: dict[str, Any]) -> Iterator[str]:
    judge = str(facts.get("judge"))
    if not departures.is_gpt_4(judge):
        yield f"the judge of {facts['imported']} is {judge}, the published numbers' is GPT-4"


def note(found: Sequence[str]) -> tuple[str, ...]:
    """Return the sentence that stands below a table for obstacles; () if there are none."""
    if not found:
        return ()
    return (f"Published numbers are not set beside these: {'; '.join(found)}.",)


def judges_named(results: RunResults, benchmark: str) -> tuple[str, ...]:
    """Return who judged a benchmark, of imported results too; who will if nothing is made yet."""
    found = []
    for model in results.models:
        facts = imported(results, f"{model}/{benchmark}")
        if facts is not None:
            found.append(str(facts.get("annotator", facts.get("judge"))))
    config = results.config
    made = departures.own(results, benchmark, JUDGED[benchmark])
    if config is not None and (made or not found):
        own = departures.judges(results, config, benchmark)
        found += [departures.shown_judge(judge) for judge in own]
    return tuple(dict.fromkeys(found))

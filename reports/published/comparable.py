"""Whether published results are comparable with a run's, and the reasons if not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.benchmarks import Subject
from core.stages import Stage, evaluation_ref
from reports.published import condition_differences
from reports.published.condition_differences import ANNOTATOR, JUDGED, REFERENCE
from reports.published.published import SIZES, of_paper, of_recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.config import Config
    from core.reader import RunReader
    from reports.document import Published

_TURNS = 2 * SIZES.mt_bench_questions
# A file may lack a few rows and still be the one that a leaderboard was computed from:
# text_davinci_001's has 803 of 805. Two absent rows move a win rate by at most 0.25 points.
_LEAST_COMPLETE = 0.99


def incomparability_reasons(results: RunReader, benchmark: str) -> tuple[str, ...]:
    """Return why the paper's numbers are not comparable with those of a run's own models.

    () if they are. Clauses without a full stop, for `note`. For imported
    results see `imported_reasons`.

    Args:
        results: the run.
        benchmark: head_to_head, alpaca_eval, mt_bench, nlp (all tasks), nlp/TASK, agreement, human,
            or "lengths" (AlpacaEval's answers, whatever their judgments).
    """
    config = results.config
    if config is None:
        return ("the results were imported, they are not of models that this run trained",)
    found = [
        *condition_differences.base_model(results, config),
        *_others(results, config, benchmark),
    ]
    return tuple(dict.fromkeys(found))


def _others(results: RunReader, config: Config, benchmark: str) -> Iterator[str]:
    name, _, task = benchmark.partition("/")
    if name == "alpaca_eval":
        yield from leaderboard_reasons(results)
    elif name == "lengths":
        yield from condition_differences.alpaca_prompts(results, config)
    elif name == "head_to_head":
        yield from condition_differences.head_to_head_prompts(results, config)
        yield from condition_differences.judge_not_gpt_4(results, config, name)
    elif name == "mt_bench":
        yield from condition_differences.questions(results)
        yield from condition_differences.judge_not_gpt_4(results, config, name)
    elif name == "nlp":
        for one in (task,) if task else config.evaluation.nlp.tasks:
            yield from condition_differences.items(results, config, one)
    elif name == "agreement":
        yield from condition_differences.ranked_replies(results, config)
    elif name == "human":
        yield from condition_differences.people(results)
    else:
        raise ValueError(f"nothing is published of {benchmark!r}")


def leaderboard_reasons(results: RunReader) -> tuple[str, ...]:
    """Return why other systems' AlpacaEval numbers are not comparable.

    They need the same prompts, reference and judge; which models are compared does not matter.
    """
    if results.config is not None:
        found = [
            *condition_differences.alpaca_prompts(results, results.config),
            *condition_differences.annotation(results, results.config),
        ]
    else:
        places = [f"{model}/alpaca_eval" for model in results.models]
        found = [
            clause
            for address in places
            if imported(results, address) is not None
            for clause in imported_reasons(results, address)
        ]
    return tuple(dict.fromkeys(found))


def imported(results: RunReader, address: str) -> dict[str, Any] | None:
    """Return the facts of imported results ("imported", "model", "judge", ...); None for others."""
    for stage in (Stage.SCORES, Stage.ANNOTATIONS, Stage.TURN_JUDGMENTS):
        ref = evaluation_ref(address, stage)
        if results.exists(ref) and "imported" in (facts := results.manifest(ref).facts):
            return dict(facts)
    return None


def imported_reasons(results: RunReader, address: str) -> tuple[str, ...]:
    """Return why numbers published for an imported model are not comparable with its results.

    Raises:
        ValueError: the results were not imported.
    """
    facts = imported(results, address)
    if facts is None:
        raise ValueError(f"{address} was not imported")
    subject = Subject.parse(address)
    of_alpaca = subject is not None and subject.benchmark == "alpaca_eval"
    found = [*(_alpaca_differs(facts) if of_alpaca else _judge_differs(facts))]
    score = results.scores(address).get("win_rate" if of_alpaca else "overall")
    count = score.n if score is not None else 0
    whole, what = (SIZES.alpaca_eval_prompts, "prompts") if of_alpaca else (_TURNS, "turns")
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
    if not condition_differences.is_gpt_4(judge):
        yield f"the judge of {facts['imported']} is {judge}, the published numbers' is GPT-4"


def note(found: Sequence[str]) -> tuple[str, ...]:
    """Return the sentence that names the reasons below a table; () without any."""
    if not found:
        return ()
    return (f"Not comparable with published results: {'; '.join(found)}.",)


def judges_named(results: RunReader, benchmark: str) -> tuple[str, ...]:
    """Return who judged a benchmark, of imported results too; who will if nothing is made yet."""
    found = []
    for model in results.models:
        facts = imported(results, f"{model}/{benchmark}")
        if facts is not None:
            found.append(str(facts.get("annotator", facts.get("judge"))))
    config = results.config
    made = condition_differences.own(results, benchmark, JUDGED[benchmark])
    if config is not None and (made or not found):
        own = condition_differences.judges(results, config, benchmark)
        found += [condition_differences.shown_judge(judge) for judge in own]
    return tuple(dict.fromkeys(found))


class PublishedNumbers:
    """Looks up published numbers for one benchmark's cells.

    `own` are the reasons why those of the run's own models are not comparable.
    """

    def __init__(self, results: RunReader, benchmark: str, subjects: tuple[str, ...]) -> None:
        """Find the reasons for a table with rows for these models or matchups.

        Args:
            results: the run.
            benchmark: as for `incomparability_reasons`.
            subjects: models, or matchups as "M2-M1".
        """
        self._name = "alpaca_eval" if benchmark == "lengths" else benchmark.partition("/")[0]
        self._imported = {
            subject: facts
            for subject in subjects
            if (facts := imported(results, f"{subject}/{self._name}")) is not None
        }
        self._refused = {
            subject: imported_reasons(results, f"{subject}/{self._name}")
            for subject in self._imported
        }
        has_own = any(subject not in self._imported for subject in subjects)
        self.own = incomparability_reasons(results, benchmark) if has_own else ()

    def published(self, subject: str, key: str) -> Published | None:
        """Return the number published for a row, None if there is none or it is not comparable.

        An imported model goes by the name its file gives it, a model of the run by the paper's.
        """
        if (facts := self._imported.get(subject)) is not None:
            refused = self._refused[subject]
            return None if refused else of_recorded(self._name, str(facts.get("model")), key)
        return None if self.own else of_paper(self._name, subject, key)

    def is_imported(self, subject: str) -> bool:
        """Whether a row's results were imported."""
        return subject in self._imported

    @property
    def imported_names(self) -> tuple[str, ...]:
        """What the files call the imported models."""
        return tuple(str(facts.get("model")) for facts in self._imported.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the sentence that names the reasons; () if there are none."""
        refused = [clause for clauses in self._refused.values() for clause in clauses]
        return note(tuple(dict.fromkeys([*self.own, *refused])))

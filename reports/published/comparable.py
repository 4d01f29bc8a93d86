"""Whether published results are comparable with a run's, and the reasons if not."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from core.benchmarks import BENCHMARKS, Subject
from core.stages import Stage, evaluation_ref
from reports.published import condition_differences
from reports.published.condition_differences import ANNOTATOR, REFERENCE
from reports.published.published import SIZES, of_paper, of_recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.reader import RunReader
    from core.store import Manifest
    from reports.document import Published

_TURNS = 2 * SIZES.mt_bench_questions
# A score may lack a few items and still be comparable with a published one: text_davinci_001's file
# has 803 of 805 rows. Two absent rows move a win rate by at most 0.25 points.
_LEAST_COMPLETE = 0.99
_JUDGED = (Stage.ANNOTATIONS, Stage.TURN_JUDGMENTS, Stage.VERDICTS, Stage.EXTERNAL_JUDGMENTS)


def incomparability_reasons(results: RunReader, benchmark: str) -> tuple[str, ...]:
    """Return why the paper's numbers are not comparable with those of a run's own models.

    () if they are. Clauses without a full stop, for `note`. For imported
    results see `imported_reasons`.

    Args:
        results: the run.
        benchmark: one of `condition_differences.CONDITIONS`, "nlp" (all tasks) or "nlp/TASK".
    """
    if results.only_imported:
        return ("the results were imported, they are not of models that this run trained",)
    config = results.config
    found = [*condition_differences.base_model(results, config)]
    name, _, task = benchmark.partition("/")
    if name == "nlp":
        for one in (task,) if task else results.parts("nlp"):
            found += condition_differences.items(results, config, one)
    elif name in condition_differences.CONDITIONS:
        for differences in condition_differences.CONDITIONS[name]:
            found += differences(results, config)
    else:
        raise ValueError(f"nothing is published of {benchmark!r}")
    return tuple(dict.fromkeys(found))


def leaderboard_reasons(results: RunReader) -> tuple[str, ...]:
    """Return why other systems' AlpacaEval numbers are not comparable.

    They need the same prompts, reference and judge, and a preference for all prompts but a few;
    which models are compared does not matter.
    """
    found: list[str] = []
    if not results.only_imported:
        for differences in condition_differences.CONDITIONS["alpaca_eval"]:
            found += differences(results, results.config)
    for model in results.models:
        if imported(results, f"{model}/alpaca_eval") is not None:
            found += imported_reasons(results, f"{model}/alpaca_eval")
        else:
            found += incomplete(results, "alpaca_eval", model)
    return tuple(dict.fromkeys(found))


def incomplete(results: RunReader, benchmark: str, subject: str, key: str = "") -> tuple[str, ...]:
    """Return why a score of a run's own model rests on too few of its items; () if it does not.

    `benchmark`: a name, or "nlp/TASK"; `key`: of the score, by default its headline.
    """
    name, _, part = benchmark.partition("/")
    by_pair = BENCHMARKS[name].of == "matchup"
    one = Subject(name, tuple(subject.split("-")) if by_pair else (subject,), part=part)
    scores = results.scores(one.address)
    marked = next((s for s in scores.values() if one.facts.is_headline(s)), None)
    score = scores.get(key) or scores.get(one.facts.headline) or marked
    if score is None or score.n >= _LEAST_COMPLETE * (score.n + score.missing):
        return ()
    count = f"{score.missing} of {score.n + score.missing}"
    return (f"{one.address} lacks {count} ({score.key})",)


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
    found, file, whole, what = [], facts["imported"], _TURNS, "turns"
    subject = Subject.parse(address)
    if subject is not None and subject.benchmark == "alpaca_eval":
        whole, what = SIZES.alpaca_eval_prompts, "prompts"
        for name, theirs in (("annotator", ANNOTATOR), ("reference", REFERENCE)):
            if (ours := facts.get(name)) != theirs:
                found.append(f"the {name} of {file} is {ours}, the leaderboard's {theirs}")
    elif not condition_differences.is_gpt_4(judge := str(facts.get("judge"))):
        found.append(f"the judge of {file} is {judge}, the published numbers' is GPT-4")
    headline = subject.facts.headline if subject is not None else ""
    score = results.scores(address).get(headline)
    count = score.n if score is not None else 0
    if count < _LEAST_COMPLETE * whole:
        found.append(f"{file} has {count} of {whole} {what}")
    return tuple(found)


def note(found: Sequence[str]) -> tuple[str, ...]:
    """Return the sentence that names the reasons below a table; () without any."""
    return (f"Not comparable with published results: {'; '.join(found)}.",) if found else ()


def judges_named(results: RunReader, benchmark: str) -> tuple[str, ...]:
    """Return who judged a benchmark, of imported results too; who will if nothing is made yet."""
    found = []
    for model in results.models:
        facts = imported(results, f"{model}/{benchmark}")
        if facts is not None:
            found.append(str(facts.get("annotator", facts.get("judge"))))
    if condition_differences.judged(results, benchmark) or not found:
        own = condition_differences.judges(results, results.config, benchmark)
        found += [condition_differences.shown_judge(judge) for judge in own]
    return tuple(dict.fromkeys(found))


def external_judges(results: RunReader) -> tuple[str, ...]:
    """Return who judged anything of the run's own, by the manifests: "openai/HOST/MODEL", ..."""
    refs = [one.ref(stage) for one in results.subjects() for stage in _JUDGED]
    made = [results.manifest(ref) for ref in refs if results.exists(ref)]
    own = [found for found in made if "imported" not in found.facts]
    return tuple(dict.fromkeys(map(condition_differences.judge_of, own)))


def judge_notes(manifests: Iterable[Manifest]) -> tuple[str, ...]:
    """Return sentences on the replies behind judged artifacts, where there is something to say.

    Which models answered under the judge's name, what was changed in requests because the server
    refuses it, and how many replies reached their limit before the first word.
    """
    models: Counter[str] = Counter()
    adapted: dict[str, str | int] = {}
    judges, silent = set(), 0
    for facts in (manifest.facts for manifest in manifests):
        models.update(facts.get("answered_by", {}))
        adapted |= facts.get("adapted", {})
        judges.add(facts.get("judge"))
        silent += facts.get("said_nothing", 0)
    notes = []
    named = ", ".join(f"{name} ({count} replies)" for name, count in sorted(models.items()))
    if len(models) > len(judges):
        notes.append(f"{len(models)} models answered under the judge's name: {named}.")
    elif models and not judges & models.keys():
        notes.append(f"The judge answered as {next(iter(models))}.")
    if adapted:
        changed = ", ".join(f"{name} ({instead})" for name, instead in sorted(adapted.items()))
        notes.append(f"Requests adapted to what the judge's server accepts: {changed}.")
    if silent:
        notes.append(f"{silent} replies reached their token limit before the first word.")
    return tuple(notes)


class PublishedNumbers:
    """Looks up published numbers for one benchmark's cells.

    `own` are the reasons why those of the run's own models are not comparable; where there are
    none, that of a model whose score lacks more than 1 % of its items is not.
    """

    def __init__(self, results: RunReader, benchmark: str, subjects: tuple[str, ...]) -> None:
        """Find the reasons for a table with rows for `subjects`: models, or matchups as "M2-M1".

        `benchmark`: as for `incomparability_reasons`.
        """
        self._name = "alpaca_eval" if benchmark == "lengths" else benchmark.partition("/")[0]
        self._imported = {
            subject: (str(facts.get("model")), imported_reasons(results, place))
            for subject in subjects
            if (facts := imported(results, place := f"{subject}/{self._name}")) is not None
        }
        has_own = any(subject not in self._imported for subject in subjects)
        self.own = incomparability_reasons(results, benchmark) if has_own else ()
        place, key = ("alpaca_eval", "avg_length") if benchmark == "lengths" else (benchmark, "")
        self._incomplete = {
            subject: reason
            for subject in subjects
            if not self.own and subject not in self._imported
            for reason in incomplete(results, place, subject, key)
        }

    def published(self, subject: str, key: str) -> Published | None:
        """Return the number published for a row, None if there is none or it is not comparable.

        An imported model goes by the name its file gives it, a model of the run by the paper's.
        """
        if subject in self._imported:
            name, refused = self._imported[subject]
            return None if refused else of_recorded(self._name, name, key)
        if self.own or subject in self._incomplete:
            return None
        return of_paper(self._name, subject, key)

    def is_imported(self, subject: str) -> bool:
        """Whether a row's results were imported."""
        return subject in self._imported

    @property
    def imported_names(self) -> tuple[str, ...]:
        """What the files call the imported models."""
        return tuple(name for name, _ in self._imported.values())

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return why numbers of some or all rows are not comparable."""
        refused = [clause for _, clauses in self._imported.values() for clause in clauses]
        return tuple(dict.fromkeys([*self.own, *refused, *self._incomplete.values()]))

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the sentence that names the reasons; () if there are none."""
        return note(self.reasons)


def notes_of(beside: Iterable[PublishedNumbers]) -> tuple[str, ...]:
    """Return one sentence with the reasons of several benchmarks in a table; () if none."""
    return note(tuple(dict.fromkeys(reason for one in beside for reason in one.reasons)))

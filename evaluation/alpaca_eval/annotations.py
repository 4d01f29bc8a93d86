"""AlpacaEval 2.0 annotations: a judge compares a model's answers with a reference's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.progress import track
from core.records import DRAW, Annotation
from core.store import Built
from evaluation.alpaca_eval.annotator import (
    ORDER_SEED,
    AnswerPair,
    PackageAnnotator,
    Preference,
)
from judges.asking import settle_failures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Generation
    from core.store import Partial
    from judges.asking import Judge, Reply


def annotate(
    judge: Judge,
    answers: Sequence[Generation],
    reference: Mapping[str, str],
    *,
    names: tuple[str, str],
    annotator: str,
    allowed_failures: float,
    out: Partial,
) -> Built:
    """Write one annotation per answer that `out` lacks, each as soon as its reply is parsed.

    Identical outputs are a draw (1.5) without a request, as in the package. Rows without a
    preference have the reason in `missing`: "no_answer"
    (the prompt did not fit the model), "no_reference", "too_long" and "refused" (the judge's),
    "unparsed", "out_of_range", "no_logprobs", "failed".

    The row's `annotator` names the configuration and the judge, so that results are never mixed.

    Args:
        judge: the judge.
        answers: the model's, one per prompt.
        reference: the reference's answer by prompt key.
        names: of the reference and the model.
        annotator: the package's annotator configuration, by name.
        allowed_failures: share of the answers whose requests may fail permanently.
        out: the artifact.

    Raises:
        ConfigError: the annotator is unknown or unsupported.
        JudgeFailed: too many requests failed; received replies are kept.
    """
    rules = PackageAnnotator(annotator)
    todo = [answer for answer in answers if answer.prompt_key not in out.rows]
    comparisons: dict[str, AnswerPair] = {}
    written = _Rows(out, names, f"{annotator} by {judge.name}", reference, todo)
    for answer in todo:
        if (known := _known(answer, reference)) is not None:
            written.add(answer.prompt_key, known)
        else:
            shown = (answer.prompt, reference[answer.prompt_key], answer.text)
            comparisons[answer.prompt_key] = AnswerPair(answer.prompt_key, *shown)
    failures: list[Reply] = []
    title = f"AlpacaEval: {names[1]} against {names[0]}"
    with track(title, len(answers), resumed=len(answers) - len(comparisons)) as advance:
        for reply in judge.ask(rules.asks(list(comparisons.values()))):
            if reply.finish == "failed":
                failures.append(reply)
            else:
                written.add(reply.key, rules.read(reply))
            advance(tokens=reply.tokens_out)
    settle_failures(failures, len(answers), allowed_share=allowed_failures)
    for failed in failures:
        written.add(failed.key, Preference(None, "failed", ""))
    missing = Counter(row.missing for row in out.rows.values() if row.missing is not None)
    counts = {f"missing_{reason}": n for reason, n in sorted(missing.items())}
    return Built(
        counts={"annotated": len(out.rows) - missing.total(), **counts},
        facts={"annotator": annotator, "judge": judge.name, "order_seed": ORDER_SEED},
        engine=judge.identity,
    )


class _Rows:
    """Adds preferences to `out` as rows."""

    def __init__(
        self,
        out: Partial,
        names: tuple[str, str],
        annotator: str,
        reference: Mapping[str, str],
        answers: Sequence[Generation],
    ) -> None:
        """Keep the fields that all rows share."""
        self._out, self._names, self._annotator = out, names, annotator
        self._reference, self._answers = reference, {a.prompt_key: a for a in answers}

    def add(self, key: str, outcome: Preference) -> None:
        """Add one row, durably."""
        answer = self._answers[key]
        row = Annotation(
            key=key,
            instruction=answer.prompt,
            output_1=self._reference.get(key, ""),
            output_2=answer.text,
            generator_1=self._names[0],
            generator_2=self._names[1],
            annotator=self._annotator,
            preference=outcome.preference,
            missing=outcome.missing,
            raw_completion=outcome.raw,
        )
        self._out.add(row)


def _known(answer: Generation, reference: Mapping[str, str]) -> Preference | None:
    """Return the outcome if no request is needed, else None."""
    if answer.finish == "too_long":
        return Preference(None, "no_answer", "")
    if answer.prompt_key not in reference:
        return Preference(None, "no_reference", "")
    return Preference(DRAW, None, "") if answer.text == reference[answer.prompt_key] else None

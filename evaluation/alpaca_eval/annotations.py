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
    by_key = {answer.prompt_key: answer for answer in todo}

    def add(key: str, found: Preference) -> None:
        row = Annotation(
            key=key,
            instruction=by_key[key].prompt,
            output_1=reference.get(key, ""),
            output_2=by_key[key].text,
            generator_1=names[0],
            generator_2=names[1],
            annotator=f"{annotator} by {judge.name}",
            preference=found.preference,
            missing=found.missing,
            raw_completion=found.raw,
        )
        out.add(row)

    for answer in todo:
        if (known := _known(answer, reference)) is not None:
            add(answer.prompt_key, known)
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
                add(reply.key, rules.read(reply))
            advance(tokens=reply.tokens_out)
    settle_failures(failures, len(answers), allowed_share=allowed_failures)
    for failed in failures:
        add(failed.key, Preference(None, "failed", ""))
    missing = Counter(row.missing for row in out.rows.values() if row.missing is not None)
    counts = {f"missing_{reason}": n for reason, n in sorted(missing.items())}
    return Built(
        counts={"annotated": len(out.rows) - missing.total(), **counts},
        facts={"annotator": annotator, "judge": judge.name, "order_seed": ORDER_SEED},
        engine=judge.identity,
    )


def _known(answer: Generation, reference: Mapping[str, str]) -> Preference | None:
    """Return the outcome if no request is needed, else None."""
    if answer.finish == "too_long":
        return Preference(None, "no_answer", "")
    if answer.prompt_key not in reference:
        return Preference(None, "no_reference", "")
    return Preference(DRAW, None, "") if answer.text == reference[answer.prompt_key] else None

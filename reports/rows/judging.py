"""Rows about judges: against human rankings, and the self-judge beside the external one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.stages import Ref, Stage, evaluation_ref
from reports.document import Item
from reports.formats.plotting import shown_name
from reports.rows.texts import (
    NONE,
    Judged,
    excerpt,
    group,
    judged_by_subject,
    points,
    said,
    words_of,
)

if TYPE_CHECKING:
    from core.records import Candidate, Judgment, RankedPrompt
    from reports.document import RowGroup
    from reports.results import RunResults


class _Prompted(NamedTuple):
    key: str
    judged: dict[str, Judged]


def agreement(results: RunResults, model: str, most: int) -> RowGroup | None:
    """Return how a model judged the human-ranked replies, by prompt; None if it did not."""
    ref = evaluation_ref(f"{model}/agreement", Stage.RANKED_JUDGMENTS)
    title = f"Agreement with humans, {shown_name(model)} as the judge"
    return _of_ranked(results, f"{model}/agreement", title, ref, most)


def probes(results: RunResults, most: int) -> list[RowGroup]:
    """Return the judge probes of M0 and M1, and the baseline's judgments for EFT."""
    known = (
        ("probe/M0", "Probe: M0 judges human-ranked replies", Ref(0, Stage.PROBE)),
        ("probe/M1", "Probe: M1 judges human-ranked replies", Ref(1, Stage.PROBE)),
        ("eft_judgments", "SFT judges human-ranked replies", Ref(1, Stage.EFT_JUDGMENTS)),
    )
    found = (_of_ranked(results, key, title, ref, most) for key, title, ref in known)
    return [one for one in found if one is not None]


def _of_ranked(results: RunResults, key: str, title: str, ref: Ref, most: int) -> RowGroup | None:
    if not results.exists(ref):
        return None
    ranked: dict[str, RankedPrompt] = {r.key: r for r in results.rows(Ref(1, Stage.RANKED))}
    by_prompt: dict[str, list[Judgment]] = {}
    for judgment in results.rows(ref):
        by_prompt.setdefault(judgment.prompt_key, []).append(judgment)
    prompts = [_Prompted(name, judged_by_subject(rows)) for name, rows in by_prompt.items()]
    columns = ("prompt", "replies", "mean scores, best for humans first")
    return group(
        key,
        title,
        columns,
        prompts,
        lambda prompt: _ranked(prompt, ranked.get(prompt.key)),
        most=most,
        artifact=ref,
    )


def _ranked(prompt: _Prompted, ranked: RankedPrompt | None) -> Item:
    if ranked is None:  # imported judgments come without the replies
        words = [part for judged in prompt.judged.values() for part in words_of(judged)]
        means = ", ".join(points(judged.mean.mean) for judged in prompt.judged.values())
        return Item(prompt.key, (prompt.key, str(len(prompt.judged)), means), tuple(words))
    parts = [("Prompt", ranked.prompt)]
    scores = []
    for reply in sorted(ranked.replies, key=lambda reply: (reply.rank, reply.key)):
        judged = prompt.judged.get(reply.key)
        scores.append(points(judged.mean.mean if judged is not None else None))
        mean = judged.shown if judged is not None else "not judged"
        parts.append((f"Reply ranked {reply.rank + 1} by humans; mean score {mean}", reply.text))
        parts += words_of(judged)
    cells = (excerpt(ranked.prompt), str(len(ranked.replies)), ", ".join(scores))
    return Item(prompt.key, cells, tuple(parts))


def self_judge(results: RunResults, k: int, most: int) -> RowGroup | None:
    """Return the answers of iteration k that both judges saw; None if there are none."""
    address = f"self_judge/iter{k}"
    ref = evaluation_ref(address, Stage.EXTERNAL_JUDGMENTS)
    if not results.exists(ref):
        return None
    external = judged_by_subject(results.rows(ref))
    own = judged_by_subject(results.rows(Ref(k, Stage.JUDGMENTS)))
    answers: dict[str, Candidate] = {r.key: r for r in results.rows(Ref(k, Stage.CANDIDATES))}
    prompts = {row.key: row.text for row in results.rows(Ref(k, Stage.PROMPTS))}

    def item(both: _Both) -> Item:
        answer = answers.get(both.key)
        prompt = prompts.get(answer.prompt_key, "") if answer is not None else ""
        means = [j.mean.mean if j is not None else None for j in (both.own, both.external)]
        difference = None
        if means[0] is not None and means[1] is not None:
            difference = means[0] - means[1]
        parts = [
            ("Prompt", said(prompt)),
            ("Answer", said(answer.text) if answer is not None else "(not in this run)"),
            *words_of(both.own, f"M{k - 1}"),
            *words_of(both.external, "The external judge"),
        ]
        cells = (excerpt(prompt) or NONE, *map(points, (*means, difference)))
        return Item(both.key, cells, tuple(parts))

    rows = [_Both(key, own.get(key), judged) for key, judged in external.items()]
    columns = ("prompt", f"by M{k - 1}", "by the external judge", "difference")
    title = f"Iteration {k}: M{k - 1} as a judge beside the external judge"
    return group(address, title, columns, rows, item, most=most, artifact=ref)


class _Both(NamedTuple):
    key: str
    own: Judged | None
    external: Judged

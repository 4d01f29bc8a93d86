"""Rows of an iteration's data: prompts, judged candidates, pairs, and the ways between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.stages import Ref, Stage, evaluation_ref
from reports.document import Item, Link
from reports.rows.texts import (
    Judged,
    Part,
    excerpt,
    group,
    judged_by_subject,
    key_order,
    points,
    said,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.records import Candidate, Flag, LedgerRow, Prompt, PromptCall
    from reports.document import RowGroup
    from reports.results import RunResults


def of_iteration(results: RunResults, k: int, most: int) -> list[RowGroup]:
    """Return the groups of iteration k that exist; links lead only to rows that are shown."""
    found = [_prompts(results, k, most), _judgments(results, k, most), _pairs(results, k, most)]
    groups = [one for one in found if one is not None]
    shown = {(one.key, item.key) for one in groups for item in one.items}
    return [replace(one, items=tuple(_linked(i, shown) for i in one.items)) for one in groups]


def _linked(item: Item, shown: set[tuple[str, str]]) -> Item:
    kept = tuple(link for link in item.links if (link.group, link.row) in shown)
    return item if len(kept) == len(item.links) else replace(item, links=kept)


def _prompts(results: RunResults, k: int, most: int) -> RowGroup | None:
    ref = Ref(k, Stage.PROMPTS)
    if not results.exists(ref):
        return None
    calls: dict[int, PromptCall] = {r.call: r for r in results.rows(Ref(k, Stage.PROMPT_CALLS))}
    return group(
        f"prompts/iter{k}",
        f"Iteration {k}: prompts",
        ("prompt", "kept?", "call"),
        results.rows(ref),
        lambda row: _prompt(row, calls.get(row.call), k),
        most=most,
        artifact=ref,
    )


def _prompt(row: Prompt, call: PromptCall | None, k: int) -> Item:
    kept = "kept" if row.kept else f"rejected: {str(row.rejected).replace('_', ' ')}"
    parts = [("Prompt", said(row.text))]
    if row.similar_to is not None:
        parts.append(("Too similar to", row.similar_to))
    if call is not None:
        examples = "\n\n".join(f"{at}. {text}" for at, text in enumerate(call.examples, start=1))
        parts += [
            ("The call that wrote it: its words", said(call.text)),
            ("The call that wrote it: examples it was shown", examples),
        ]
    links = (Link("What became of it", f"pairs/iter{k}", row.key),) if row.kept else ()
    return Item(row.key, (excerpt(row.text), kept, str(row.call)), tuple(parts), links)


def _judgments(results: RunResults, k: int, most: int) -> RowGroup | None:
    ref = Ref(k, Stage.JUDGMENTS)
    if not results.exists(ref):
        return None
    judged = judged_by_subject(results.rows(ref))
    texts = {row.key: row.text for row in results.rows(Ref(k, Stage.PROMPTS))}
    pairs: dict[str, LedgerRow] = {r.key: r for r in results.rows(Ref(k, Stage.PAIRS))}
    return group(
        f"judgments/iter{k}",
        f"Iteration {k}: candidates of M{k - 1} and what its judge said",
        ("prompt", "candidate", "mean score", "role"),
        results.rows(Ref(k, Stage.CANDIDATES)),
        lambda row: _candidate(row, judged.get(row.key), texts, pairs.get(row.prompt_key), k),
        most=most,
        artifact=ref,
    )


def _candidate(
    row: Candidate,
    judged: Judged | None,
    texts: Mapping[str, str],
    pair: LedgerRow | None,
    k: int,
) -> Item:
    prompt = texts.get(row.prompt_key, row.prompt_key)
    parts = [("Prompt", prompt), (_answer_head(row), said(row.text)), *words_of(judged)]
    mean = judged.shown if judged is not None else "not judged"
    links = [Link("The prompt", f"prompts/iter{k}", row.prompt_key)]
    if pair is not None:
        label = "The pair it became" if row.key in _members(pair) else "What became of its prompt"
        links.insert(0, Link(label, f"pairs/iter{k}", pair.key))
    cells = (excerpt(prompt), str(row.draw + 1), mean, _role(row.key, pair))
    return Item(row.key, cells, tuple(parts), tuple(links))


def _answer_head(row: Candidate) -> str:
    if row.finish == "length":
        return "Answer (cut by the token limit)"
    return "Answer (none: the prompt is too long)" if row.finish == "too_long" else "Answer"


def _members(pair: LedgerRow) -> tuple[str | None, str | None]:
    return pair.chosen_key, pair.rejected_key


def _role(key: str, pair: LedgerRow | None) -> str:
    if pair is None:
        return "no pairs yet"
    named = {pair.chosen_key: "chosen", pair.rejected_key: "rejected"}
    return named.get(key, "not used")


def _pairs(results: RunResults, k: int, most: int) -> RowGroup | None:
    ref = Ref(k, Stage.PAIRS)
    if not results.exists(ref):
        return None
    candidates: dict[str, list[Candidate]] = {}
    for row in sorted(results.rows(Ref(k, Stage.CANDIDATES)), key=lambda r: key_order(r.key)):
        candidates.setdefault(row.prompt_key, []).append(row)
    return group(
        f"pairs/iter{k}",
        f"Iteration {k}: what became of each prompt",
        ("prompt", "outcome", "mean scores", "chosen", "rejected"),
        results.rows(ref),
        lambda row: _pair(row, candidates.get(row.key, []), k),
        most=most,
        artifact=ref,
    )


def _pair(row: LedgerRow, candidates: list[Candidate], k: int) -> Item:
    parts: list[Part] = [("Prompt", row.prompt)]
    if row.chosen is not None and row.rejected is not None:
        parts += [
            (f"Chosen (score {points(row.chosen_score)})", said(row.chosen)),
            (f"Rejected (score {points(row.rejected_score)})", said(row.rejected)),
        ]
    links = [Link("The prompt and the call that wrote it", f"prompts/iter{k}", row.key)]
    for candidate in candidates:
        role = _role(candidate.key, row)
        label = f"Candidate {candidate.draw + 1} ({role}) and the judge's words"
        links.append(Link(label, f"judgments/iter{k}", candidate.key))
    cells = (
        excerpt(row.prompt),
        row.outcome.replace("_", " "),
        ", ".join(map(points, row.scores)),
        points(row.chosen_score),
        points(row.rejected_score),
    )
    return Item(row.key, cells, tuple(parts), tuple(links))


def contamination(results: RunResults, k: int, most: int) -> RowGroup | None:
    """Return the prompts of iteration k that overlap with evaluation items; None if not checked."""
    address = f"contamination/iter{k}"
    ref = evaluation_ref(address, Stage.FLAGS)
    if not results.exists(ref):
        return None
    return group(
        address,
        f"Iteration {k}: prompts that overlap with evaluation items",
        ("prompt", "evaluation set", "item", "kind", "overlap"),
        results.rows(ref),
        _flag,
        most=most,
        artifact=ref,
    )


def _flag(row: Flag) -> Item:
    by_words = row.kind == "ngram"
    kind = "words in a row" if by_words else "ROUGE-L"
    amount = f"{row.overlap:.0f}" if by_words else points(row.overlap)
    cells = (excerpt(row.prompt), row.benchmark, row.item, kind, amount)
    return Item(row.key, cells, (("Prompt", row.prompt), ("The evaluation item", row.text)))

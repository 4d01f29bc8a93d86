"""Prompts, candidates and preference pairs of an iteration: tables and rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.paired import Comparison, compare
from core.records import ANSWERED, transcript
from core.stages import Ref, Stage
from reports.document import Cell, Item, Link, RowGroup, Table, TableRow
from reports.sections.cells import count, counted_rows, facts_of, of_point, seed_of, words
from reports.sections.drawing import point_between, point_of_lengths
from reports.sections.items import (
    Judged,
    Part,
    excerpt,
    group,
    judged_by_subject,
    key_order,
    points,
    text_or_note,
    words_of,
)

if TYPE_CHECKING:
    from core.reader import RunReader
    from core.records import Candidate, LedgerRow, Prompt, PromptCall
    from reports.sections.drawing import Point

_MEMBERS = ("chosen", "rejected")
_NOT_WHOLE = {
    "too_long": " (none: the prompt is too long)",
    "cut_off": " (none: the token limit cut the thought before it)",
}
_OUTCOMES = (
    "pair", "reward_disagrees", "tie", "identical_answers", "one_scored", "unscored",
    "no_candidates",
)  # fmt: skip


def names(k: int) -> dict[str, str]:
    """Return what sentences call the models that settings of iteration k name."""
    return {
        "self": f"M{k - 1}",
        "previous": f"M{k - 1}",
        "base": "M0",
        "m1": "M1",
        "sft": "The SFT baseline",
        "verifier": "A program that knows what is right",
    }


def own_judge(results: RunReader, k: int) -> str:
    """Return the name of who judged the candidates of iteration k."""
    ref = Ref(k, Stage.JUDGMENTS)
    name = results.setting("improvement.judge", ref) or "self"
    if name == "external":
        return str(facts_of(results, ref).get("judge", "The external judge"))
    return names(k).get(name) or Path(name).name


def prompts(results: RunReader, k: int) -> Table:
    """Return how many prompts the generator wrote, kept, and rejected by reason."""
    reasons = Counter(row.rejected for row in results.rows(Ref(k, Stage.PROMPTS)))
    kept = reasons.pop(None, 0)
    named = {"kept": kept} | {
        f"rejected: {words(str(reason))}": number for reason, number in reasons.most_common()
    }
    return Table(
        f"iteration_{k}_prompts",
        f"Prompts of iteration {k}",
        "prompts",
        ("number", "% of all"),
        counted_rows(named, "written in all", f"prompts/iter{k}"),
    )


def ledger(results: RunReader, k: int) -> Table:
    """Return the outcomes of the kept prompts, which add up to their number."""
    found = Counter(row.outcome for row in results.rows(Ref(k, Stage.PAIRS)))
    ordered = [*_OUTCOMES, *sorted(found.keys() - {*_OUTCOMES})]
    named = {words(name): found[name] for name in ordered if found[name]}
    kept = sum(row.kept for row in results.rows(Ref(k, Stage.PROMPTS)))
    by_score = found["pair"] + found["reward_disagrees"]
    share = f"{found['pair']} of {by_score} pairs by score, {found['pair'] / max(1, by_score):.0%}"
    filtered = (
        f"The implicit reward, log M{k - 1}/M{k - 2}, orders {share}, as the judge does; the "
        "others were left out.",
    )
    agrees = "add up to" if found.total() == kept else f"are {found.total()}, not"
    return Table(
        f"iteration_{k}_pairs",
        f"Preference pairs of iteration {k}",
        "outcome",
        ("prompts", "% of all"),
        counted_rows(named, "prompts in all", f"pairs/iter{k}"),
        notes=(
            f"The outcomes {agrees} the {kept} kept prompts.",
            *(filtered if _filters(results, k) else ()),
        ),
    )


def _filters(results: RunReader, k: int) -> bool:
    return results.exists(Ref(k, Stage.IMPLICIT_REWARDS))


def chosen_minus_rejected(results: RunReader, k: int) -> Comparison:
    """Return the paired difference of the pairs' lengths in characters."""
    pairs = [row for row in results.rows(Ref(k, Stage.PAIRS)) if row.outcome == "pair"]
    chosen = {row.key: float(len(row.chosen)) for row in pairs}
    rejected = {row.key: float(len(row.rejected)) for row in pairs}
    return compare(chosen, rejected, seed=seed_of(results))


def gaps(results: RunReader, k: int) -> Table:
    """Return the score gap of the pairs, and whose answers they are if others have a part."""
    pairs = [row for row in results.rows(Ref(k, Stage.PAIRS)) if row.outcome == "pair"]
    by: dict[str, list[LedgerRow]] = {"all pairs": pairs}
    for row in pairs:
        if row.chosen_by:
            by.setdefault(f"chosen of {row.chosen_by}, rejected of {row.rejected_by}", []).append(
                row
            )
    rows = tuple(
        TableRow(name, (count(len(found)), of_point(_mean_gap(found), "no pairs", digits=2)))
        for name, found in sorted(by.items(), key=lambda item: -len(item[1]))
    )
    return Table(
        f"iteration_{k}_gaps",
        f"Score of the chosen answer less the rejected one's, iteration {k}",
        "pairs",
        ("number", "mean gap"),
        rows,
    )


def _mean_gap(pairs: list[LedgerRow]) -> Point | None:
    """Return the mean gap with its interval; pairs are of different prompts."""
    scored = [(row.chosen_score, row.rejected_score) for row in pairs]
    values = [one - other for one, other in scored if one is not None and other is not None]
    return point_of_lengths(values, [str(at) for at in range(len(values))])


def lengths(results: RunReader, k: int) -> Table:
    """Return mean characters of candidates, chosen and rejected answers, and how many are cut."""
    candidates = results.rows(Ref(k, Stage.CANDIDATES))
    answers = [r for r in candidates if r.finish in ANSWERED]
    asked = [row.prompt_key for row in answers]
    pairs = [row for row in results.rows(Ref(k, Stage.PAIRS)) if row.outcome == "pair"]
    keys = [row.key for row in pairs]
    paired = point_between(chosen_minus_rejected(results, k))
    of_candidates = point_of_lengths([len(r.text) for r in answers], asked)
    of_chosen = point_of_lengths([len(row.chosen) for row in pairs], keys)
    of_rejected = point_of_lengths([len(row.rejected) for row in pairs], keys)
    lines = (
        ("candidates", of_candidates, [r.finish == "length" for r in answers]),
        ("chosen", of_chosen, [not row.chosen_ended for row in pairs]),
        ("rejected", of_rejected, [not row.rejected_ended for row in pairs]),
    )
    rows = [
        TableRow(name, (of_point(point, "there are none"), _share(cut)))
        for name, point, cut in lines
    ]
    rows.append(TableRow("chosen − rejected (paired)", (of_point(paired, "no pairs"), Cell())))
    thoughts = sum(bool(row.thought) for row in candidates)
    removed = (f"A thought was removed from {thoughts} of {len(candidates)} candidates.",)
    return Table(
        f"iteration_{k}_lengths",
        f"Length of the answers of iteration {k}",
        "answers",
        ("mean characters", "cut by the token limit, %"),
        tuple(rows),
        notes=(
            "Answers to one prompt are one observation of the intervals.",
            *(removed if thoughts else ()),
        ),
    )


def _share(cut: list[bool]) -> Cell:
    if not cut:
        return Cell(reason="there are none")
    return Cell(100 * sum(cut) / len(cut), digits=1, n=len(cut))


def rows(results: RunReader, k: int, most: int) -> list[RowGroup]:
    """Return the groups of iteration k that exist; links lead only to rows that are shown."""
    found = [_prompts(results, k, most), _judgments(results, k, most), _pairs(results, k, most)]
    groups = [one for one in found if one is not None]
    shown = {(one.key, item.key) for one in groups for item in one.items}

    def linked(item: Item) -> Item:
        return replace(item, links=tuple(x for x in item.links if (x.group, x.row) in shown))

    return [replace(one, items=tuple(map(linked, one.items))) for one in groups]


def _prompts(results: RunReader, k: int, most: int) -> RowGroup | None:
    calls: dict[int, PromptCall] = {r.call: r for r in results.rows(Ref(k, Stage.PROMPT_CALLS))}
    return group(
        results,
        Ref(k, Stage.PROMPTS),
        f"Iteration {k}: prompts",
        ("prompt", "kept?", "call"),
        lambda row: _prompt(row, calls.get(row.call), k),
        most=most,
        key=f"prompts/iter{k}",
    )


def _prompt(row: Prompt, call: PromptCall | None, k: int) -> Item:
    kept = "kept" if row.kept else f"rejected: {words(str(row.rejected))}"
    parts = [("Prompt", text_or_note(row.transcript))]
    if row.similar_to is not None:
        parts.append(("Too similar to", row.similar_to))
    if call is not None:
        examples = "\n\n".join(f"{at}. {text}" for at, text in enumerate(call.examples, start=1))
        parts += [
            ("The generation call: its output", text_or_note(call.text)),
            ("The generation call: its few-shot examples", examples),
        ]
    links = (Link("Its outcome", f"pairs/iter{k}", row.key),) if row.kept else ()
    return Item(
        row.key,
        (excerpt(row.text), kept, str(row.call) if row.call >= 0 else "source"),
        tuple(parts),
        links,
    )


def _judgments(results: RunReader, k: int, most: int) -> RowGroup | None:
    ref = Ref(k, Stage.JUDGMENTS)
    judged = judged_by_subject(results.rows(ref))
    texts = {row.key: row.transcript for row in results.rows(Ref(k, Stage.PROMPTS))}
    pairs: dict[str, LedgerRow] = {r.key: r for r in results.rows(Ref(k, Stage.PAIRS))}

    def item(row: Candidate) -> Item:
        prompt = texts.get(row.prompt_key, row.prompt_key)
        return _candidate(row, prompt, judged.get(row.key), pairs.get(row.prompt_key), k)

    return group(
        results,
        ref,
        f"Iteration {k}: candidates of M{k - 1} and their judgments",
        ("prompt", "candidate", "mean score", "role"),
        item,
        most=most,
        key=f"judgments/iter{k}",
        rows=results.rows(Ref(k, Stage.CANDIDATES)),
    )


def _candidate(
    row: Candidate, prompt: str, judged: Judged | None, pair: LedgerRow | None, k: int
) -> Item:
    head = "Answer" + _NOT_WHOLE.get(row.finish, "")
    parts = [("Prompt", prompt), (head, text_or_note(row.text)), *words_of(judged)]
    mean = judged.shown if judged is not None else "not judged"
    links, role = [Link("The prompt", f"prompts/iter{k}", row.prompt_key)], _role(row.key, pair)
    if pair is not None:
        label = "The resulting pair" if role in _MEMBERS else "Outcome of its prompt"
        links.insert(0, Link(label, f"pairs/iter{k}", pair.key))
    cells = (excerpt(prompt), str(row.draw + 1), mean, role)
    return Item(row.key, cells, tuple(parts), tuple(links))


def _role(key: str, pair: LedgerRow | None) -> str:
    if pair is None:
        return "no pairs yet"
    named = {pair.chosen_key: "chosen", pair.rejected_key: "rejected"}
    return named.get(key, "not used")


def _pairs(results: RunReader, k: int, most: int) -> RowGroup | None:
    candidates: dict[str, list[Candidate]] = {}
    for row in sorted(results.rows(Ref(k, Stage.CANDIDATES)), key=lambda r: key_order(r.key)):
        candidates.setdefault(row.prompt_key, []).append(row)
    return group(
        results,
        Ref(k, Stage.PAIRS),
        f"Iteration {k}: outcome of each prompt",
        ("prompt", "outcome", "mean scores", "chosen", "rejected"),
        lambda row: _pair(row, candidates.get(row.key, []), k),
        most=most,
        key=f"pairs/iter{k}",
    )


def _pair(row: LedgerRow, candidates: list[Candidate], k: int) -> Item:
    parts: list[Part] = [("Prompt", transcript(row.before, row.prompt))]
    if row.chosen is not None and row.rejected is not None:
        who = [f"of {by}, " if by else "" for by in (row.chosen_by, row.rejected_by)]
        parts += [
            (f"Chosen ({who[0]}score {points(row.chosen_score)})", text_or_note(row.chosen)),
            (f"Rejected ({who[1]}score {points(row.rejected_score)})", text_or_note(row.rejected)),
        ]
    if row.confidence is not None:
        parts.append(("Probability that this order is right", points(row.confidence)))
    links = [Link("The prompt and its generation call", f"prompts/iter{k}", row.key)]
    for candidate in candidates:
        role = _role(candidate.key, row)
        label = f"Candidate {candidate.draw + 1} ({role}) and the judge's replies"
        links.append(Link(label, f"judgments/iter{k}", candidate.key))
    cells = (
        excerpt(row.prompt),
        words(row.outcome),
        ", ".join(map(points, row.scores)),
        points(row.chosen_score),
        points(row.rejected_score),
    )
    return Item(row.key, cells, tuple(parts), tuple(links))

"""Judging in an iteration: judge health, comparison with the external judge, contamination."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import BENCHMARKS
from core.intervals import mean_interval
from core.reductions import draws_of, judge_noise, mean_consistency, mean_scores
from core.stages import Ref, Stage, evaluation_ref
from judges.health import problems
from reports.document import Cell, Item, Link, RowGroup, Table, TableRow
from reports.published.comparable import judge_notes
from reports.sections.agreement import rows_of_ranked
from reports.sections.cells import Column, cell_of, noise_note, why_unknown, words
from reports.sections.drawing import Point
from reports.sections.items import (
    NONE,
    Judged,
    excerpt,
    group,
    judged_by_subject,
    key_order,
    points,
    text_or_note,
    words_of,
)
from reports.sections.loop.data import own_judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.reader import RunReader
    from core.records import Candidate, Flag, ItemScore, Judgment, Measurement, OrderAgreement

_MOST_FLAGS = 20
_RELIABILITY = (
    "The external judge is the iteration's own judge, asked again: the numbers say how far it "
    "repeats itself, not whether it is right.",
)
_BY = {"equal": "the same text", "ngram": "words in a row", "rouge": "ROUGE-L"}


_HEALTH = {
    "parse_rate": Column("share of replies with a readable score", 3),
    "score_mean": Column("mean score"),
    "score_entropy_bits": Column("entropy of the scores, bits"),
    "tie_rate": Column("share of prompts with all scores tied", 3),
    "draw_variance": Column("variance between draws of an answer"),
    "score_gap": Column("score of the best answer less the worst's, mean over prompts"),
    "true_signal": Column("share of prompts whose gap is more than draws give by chance", 3),
    "distinct_answers": Column("share of a prompt's answers that are distinct", 3),
    "length_correlation": Column("Spearman correlation of score and length"),
}
_SELF_JUDGE = {
    "mean_own": "mean score by the model itself",
    "mean_external": "mean score by the external judge",
    "mean_difference": "difference: own − external",
    "spearman": "Spearman correlation of the scores",
    "order_agreement": "answers to a prompt in the same order, % (chance: 50)",
    "pairs_confirmed": "training pairs the external judge confirms, % (chance: 50)",
}
_ASKED_AGAIN = {
    "mean_own": "mean score when it judged for training",
    "mean_external": "mean score when asked again",
    "mean_difference": "difference: first − again",
    "spearman": "Spearman correlation of the scores",
    "order_agreement": "answers to a prompt in the same order, % (chance: 50)",
    "pairs_confirmed": "training pairs that it confirms when asked again, % (chance: 50)",
}
_TRUTH = {
    "candidates_right": "candidates that are right",
    "judge_accuracy": "right answers scored above wrong ones to the same prompt",
    "chosen_right": "chosen answers that are right",
    "rejected_right": "rejected answers that are right",
}
_PROMPTS, _SEED_PROMPTS = "Prompts of iteration {k}", "Prompts of the seed data (IFT, EFT)"
_CONTAMINATION = {
    "flagged": "flagged in all, %",
    "equal": "the same text, %",
    "ngram": "by words in a row, %",
    "rouge": "by ROUGE-L, %",
}


def readable_share(judgments: Sequence[Judgment]) -> Point | None:
    """Return the share of replies with a readable score, in percent; None without a reply.

    Replies about one prompt are one observation of the interval.
    """
    readable = [100.0 * (judgment.said is not None) for judgment in judgments]
    prompts = [judgment.prompt_key for judgment in judgments]
    interval = mean_interval(readable, prompts, scale=(0.0, 100.0))
    return (
        None if interval is None else Point(sum(readable) / len(readable), *interval, len(readable))
    )


def health(results: RunReader, k: int) -> Table:
    """Return each measurement of the self-judge beside its limit."""
    measured: dict[str, Measurement] = {m.key: m for m in results.rows(Ref(k, Stage.HEALTH))}
    limits = {}
    if results.config is not None:
        section = results.config.at(k).health
        most = f"{section.max_length_correlation:g}"
        limits = {
            "parse_rate": f"≥ {section.min_parse_rate:g}",
            "score_entropy_bits": f"≥ {section.min_score_entropy_bits:g}",
            "tie_rate": f"≤ {section.max_tie_rate:g}",
            "length_correlation": f"−{most} to {most}",
        }
    rows = []
    for key, (name, digits, _) in _HEALTH.items():
        if key in measured:
            value, n = measured[key].value, measured[key].n
            reason = "nothing to measure" if value is None else None
            cell = Cell(value, digits=digits, n=n, reason=reason, rows=f"judgments/iter{k}")
            rows.append(TableRow(name, (cell, Cell(text=limits.get(key, "")))))
    rows += [row for row in [consistency(results, k)] if row is not None]
    detail = (measured["parse_rate"].detail if "parse_rate" in measured else None) or {}
    reasons = ", ".join(f"{words(name)} {n:.0f}" for name, n in detail.items())
    draws = draws_of(results.rows(Ref(k, Stage.JUDGMENTS)))
    return Table(
        f"iteration_{k}_health",
        f"Health of {own_judge(results, k)} as a judge, iteration {k}",
        "measurement",
        ("value", "limit"),
        tuple(rows),
        notes=(
            *((f"Unreadable replies by reason: {reasons}.",) if reasons else ()),
            noise_note(judge_noise("", draws.values()), f"{own_judge(results, k)}'s"),
        ),
    )


def consistency(results: RunReader, k: int) -> TableRow | None:
    """Return how far the judge and the model before it agree; None if that was not measured."""
    ref = Ref(k, Stage.CONSISTENCY)
    if not results.exists(ref):
        return None
    agreements: list[OrderAgreement] = results.rows(ref)
    found = [c for row in agreements if (c := row.consistency) is not None]
    low, high = mean_interval(found, scale=(0.0, 1.0)) or (None, None)
    cell = Cell(
        mean_consistency(agreements),
        digits=3,
        low=low,
        high=high,
        n=len(found),
        missing=len(agreements) - len(found),
        reason=None if found else "both judges put no prompt's answers in an order",
        rows=f"consistency/iter{k}",
    )
    name = f"consistency with M{k - 2}'s order of the same answers, (τ + 1)/2"
    return TableRow(name, (cell, Cell()))


def consistency_rows(results: RunReader, k: int, most: int) -> RowGroup | None:
    """Return each prompt's agreement of the two judges; None if that was not measured."""
    prompts = {row.key: row.text for row in results.rows(Ref(k, Stage.PROMPTS))}
    now, before = (
        mean_scores(results.rows(Ref(k, stage)))
        for stage in (Stage.JUDGMENTS, Stage.PREVIOUS_JUDGMENTS)
    )
    answers: dict[str, list[str]] = defaultdict(list)
    for row in results.rows(Ref(k, Stage.CANDIDATES)):
        answers[row.prompt_key].append(row.key)

    def item(row: OrderAgreement) -> Item:
        keys = sorted(answers[row.key], key=key_order)
        scores = [
            ", ".join(points(means[key].mean) if key in means else NONE for key in keys)
            for means in (now, before)
        ]
        prompt = prompts.get(row.key, row.key)
        cells = (excerpt(prompt), points(row.tau), *scores)
        link = Link("Its outcome", f"pairs/iter{k}", row.key)
        return Item(row.key, cells, (("Prompt", text_or_note(prompt)),), (link,))

    return group(
        results,
        Ref(k, Stage.CONSISTENCY),
        f"Iteration {k}: the orders of {own_judge(results, k)} and of M{k - 2} as judges",
        ("prompt", "Kendall's tau", f"scores by {own_judge(results, k)}", f"scores by M{k - 2}"),
        item,
        most=most,
        key=f"consistency/iter{k}",
    )


def broken_limits(results: RunReader, k: int) -> list[str]:
    """Return a sentence per limit that the judge breaks; one that says so if it breaks none."""
    measured = results.rows(Ref(k, Stage.HEALTH))
    if results.config is None or not measured:
        return []
    found = problems(measured, results.config.at(k).health)
    if not found:
        return [f"{own_judge(results, k)} as a judge is within all limits."]
    name = own_judge(results, k)
    return [f"{name} as a judge breaks a limit: {problem}." for problem in found]


def self_judge(results: RunReader, k: int) -> Table | None:
    """Return the self-judge beside the external one; None if that was not evaluated."""
    address = f"self_judge/iter{k}"
    if not results.scores(address):
        return None
    twice = same_judge(results, k)
    title = f"{own_judge(results, k)} as a judge compared with "
    judged = evaluation_ref(address, Stage.EXTERNAL_JUDGMENTS)
    return Table(
        f"iteration_{k}_self_judge",
        title + ("itself: its reliability" if twice else "the external judge"),
        "on the same answers",
        ("value",),
        _score_rows(results, address, _ASKED_AGAIN if twice else _SELF_JUDGE),
        notes=(
            *(_RELIABILITY if twice else ()),
            "Answers to one prompt are one observation of the intervals; answers that either "
            "judge gave no score are missing.",
            noise_note(results.scores(address).get("noise_own"), f"{own_judge(results, k)}'s"),
            noise_note(results.scores(address).get("noise_external"), "The external judge's"),
            *judge_notes([results.manifest(judged)] if results.exists(judged) else []),
        ),
    )


def truth(results: RunReader, k: int) -> Table | None:
    """Return the judge and its pairs against the truth; None if that was not evaluated."""
    address = f"truth/iter{k}"
    if not results.scores(address):
        return None
    return Table(
        f"iteration_{k}_truth",
        f"{own_judge(results, k)} as a judge compared with the truth",
        "on the candidates",
        ("%",),
        _score_rows(results, address, _TRUTH),
        notes=(
            "A program decides which answers follow their prompt. Answers to one prompt are one "
            "observation of the intervals; of the judge's accuracy 50 is chance.",
        ),
    )


def same_judge(results: RunReader, k: int) -> bool:
    """Whether the external judge of iteration k has the weights of the iteration's own judge."""
    refs = Ref(k, Stage.JUDGMENTS), evaluation_ref(f"self_judge/iter{k}", Stage.EXTERNAL_JUDGMENTS)
    own, external = map(results.known_manifest, refs)
    return own is not None and external is not None and bool(own.models & external.models)


def _score_rows(results: RunReader, address: str, names: Mapping[str, str]) -> tuple[TableRow, ...]:
    return tuple(TableRow(name, (cell_of(results, address, key),)) for key, name in names.items())


def contamination(results: RunReader, k: int) -> list[Table]:
    """Return the share of flagged prompts and the flags themselves; [] if not evaluated."""
    address = f"contamination/iter{k}"
    if not results.scores(address):
        return []
    share = Table(
        f"iteration_{k}_contamination",
        f"{_PROMPTS if k > 1 else _SEED_PROMPTS} that overlap with evaluation items".format(k=k),
        "prompts",
        ("% of prompts",),
        _score_rows(results, address, _CONTAMINATION),
        notes=_sets(results, k),
    )
    flags = results.rows(evaluation_ref(address, Stage.FLAGS))
    return [share, _flags(flags, k, address)] if flags else [share]


def _flags(flags: list[Flag], k: int, address: str) -> Table:
    shown = sorted(flags, key=lambda flag: flag.key)[:_MOST_FLAGS]
    rows = [
        TableRow(
            excerpt(flag.prompt, 80),
            (
                Cell(text=flag.benchmark),
                Cell(text=flag.item),
                Cell(text=_BY[flag.kind]),
                Cell(value=flag.overlap, digits=0 if flag.kind == "ngram" else 2, rows=address),
            ),
        )
        for flag in shown
    ]
    more = (f"The first {len(shown)} of {len(flags)}.",) if len(flags) > len(shown) else ()
    return Table(
        f"iteration_{k}_flags",
        f"Flagged prompts of iteration {k}",
        "prompt",
        ("evaluation set", "item", "kind", "overlap"),
        tuple(rows),
        notes=("Overlap: different n-grams in common, or ROUGE-L F.", *more),
    )


def _sets(results: RunReader, k: int) -> tuple[str, ...]:
    """Return the sentences that name the sets that were compared, and those that were not."""
    score = results.scores(f"contamination/iter{k}").get("flagged")
    detail = (score.detail or {}) if score is not None else {}
    if "compared" not in detail:  # of an earlier release
        return ()
    compared = ", ".join(f"{name} ({n} items)" for name, n in detail["compared"].items())
    left_out = ", ".join(detail["left_out"])
    without = f" Not compared, because their items are on the hub: {left_out}." if left_out else ""
    return (f"Compared with: {compared or 'no set'}.{without}",)


def flagged_by_benchmark(results: RunReader, k: int) -> str:
    """Return how many prompts overlap with which evaluation sets, or why that is unknown."""
    address = f"contamination/iter{k}"
    score = results.scores(address).get("flagged")
    if score is None or score.value is None:
        return f"Contamination: unknown; {why_unknown(results, address, score)}."
    flagged = round(score.value * score.n / 100)
    sets = ", ".join(f"{name} {n}" for name, n in (score.detail or {}).get("flagged", {}).items())
    told = f" ({sets})" if sets else ""
    kept = "kept" if k > 1 else "seed"
    found = f"{flagged} of {score.n} {kept} prompts overlap with an evaluation item{told}"
    return " ".join((f"Contamination: {found}.", *_sets(results, k)))


def probe_rows(results: RunReader, most: int) -> list[RowGroup | None]:
    """Return the judge probes of M0 and M1, and the baseline's judgments for EFT."""
    known = (
        ("probe/M0", "Probe: M0 judges human-ranked replies", Ref(0, Stage.PROBE)),
        ("probe/M1", "Probe: M1 judges human-ranked replies", Ref(1, Stage.PROBE)),
        ("eft_judgments", "SFT judges human-ranked replies", Ref(1, Stage.EFT_JUDGMENTS)),
    )
    return [rows_of_ranked(results, key, title, ref, most) for key, title, ref in known]


def self_judge_rows(results: RunReader, k: int, most: int) -> RowGroup | None:
    """Return the answers of iteration k that both judges saw; None if there are none."""
    address = f"self_judge/iter{k}"
    ref = evaluation_ref(address, Stage.EXTERNAL_JUDGMENTS)
    external = judged_by_subject(results.rows(ref))
    own = judged_by_subject(results.rows(Ref(k, Stage.JUDGMENTS)))
    answers: dict[str, Candidate] = {r.key: r for r in results.rows(Ref(k, Stage.CANDIDATES))}
    prompts = {row.key: row.transcript for row in results.rows(Ref(k, Stage.PROMPTS))}
    name, twice = own_judge(results, k), same_judge(results, k)

    def item(both: _Both) -> Item:
        answer = answers.get(both.key)
        prompt = prompts.get(answer.prompt_key, "") if answer is not None else ""
        means = [j.mean.mean if j is not None else None for j in (both.own, both.external)]
        first, second = means
        difference = None if first is None or second is None else first - second
        parts = [
            ("Prompt", text_or_note(prompt)),
            ("Answer", text_or_note(answer.text) if answer is not None else "(not in this run)"),
            *words_of(both.own, name),
            *words_of(both.external, f"{name}, asked again" if twice else "The external judge"),
        ]
        cells = (excerpt(prompt) or NONE, *map(points, (*means, difference)))
        return Item(both.key, cells, tuple(parts))

    rows = [_Both(key, own.get(key), judged) for key, judged in external.items()]
    other = "itself, asked again" if twice else "the external judge"
    columns = ("prompt", f"by {name}", f"by {other}", "difference")
    title = f"Iteration {k}: {name} as a judge compared with {other}"
    return group(results, ref, title, columns, item, most=most, rows=rows)


def truth_rows(results: RunReader, k: int, most: int) -> RowGroup | None:
    """Return the checked candidates of iteration k with their scores; None if not evaluated."""
    own, name = judged_by_subject(results.rows(Ref(k, Stage.JUDGMENTS))), own_judge(results, k)

    def item(checked: ItemScore) -> Item:
        judged, detail = own.get(checked.item), checked.detail
        followed = {1.0: "yes", 0.0: "no"}.get(
            checked.metrics.get(BENCHMARKS["ifeval"].headline, -1.0), NONE
        )
        score = judged.mean.mean if judged is not None else None
        parts = [
            ("Prompt", text_or_note(str(detail["prompt"]))),
            ("Answer", text_or_note(str(detail["text"]))),
            *words_of(judged, name),
        ]
        cells = (excerpt(str(detail["prompt"])) or NONE, followed, points(score))
        return Item(checked.key, cells, tuple(parts))

    ref = evaluation_ref(f"truth/iter{k}", Stage.ITEMS)
    columns = ("prompt", "right", f"score by {name}")
    title = f"Iteration {k}: {name} as a judge compared with the truth"
    return group(results, ref, title, columns, item, most=most)


class _Both(NamedTuple):
    key: str
    own: Judged | None
    external: Judged


def contamination_rows(results: RunReader, k: int, most: int) -> RowGroup | None:
    """Return the prompts of iteration k that overlap with evaluation items; None if not checked."""
    return group(
        results,
        evaluation_ref(f"contamination/iter{k}", Stage.FLAGS),
        f"Iteration {k}: training prompts that overlap with evaluation items",
        ("prompt", "evaluation set", "item", "kind", "overlap"),
        _flag,
        most=most,
    )


def _flag(row: Flag) -> Item:
    amount = f"{row.overlap:.0f}" if row.kind == "ngram" else points(row.overlap)
    cells = (excerpt(row.prompt), row.benchmark, row.item, _BY[row.kind], amount)
    return Item(row.key, cells, (("Prompt", row.prompt), ("The evaluation item", row.text)))

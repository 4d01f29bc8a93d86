"""Win / tie / lose of two models on the same prompts (paper, section 3.2.1 and Figure 3).

Both presentation orders are judged; if they disagree the verdict is a tie. A prompt is one
observation: its two orders are never counted separately.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from core.intervals import bootstrap_mean, share_score
from core.paired import sign_test
from core.progress import track
from core.records import Score, Verdict
from core.reductions import combine_all
from core.store import Built
from judges.asking import settle_failures
from judges.comparison_health import measure_comparisons
from judges.pairwise import AnswerPair, judge_orders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Generation
    from core.store import Partial
    from judges.asking import Judge, Reply
    from judges.pairwise import PairPrompt

_NOTHING = "no verdict could be read"


class Side(NamedTuple):
    """One of the two models: name, and answers by prompt key."""

    name: str
    answers: Mapping[str, Generation]


def judge_matchup(
    judge: Judge,
    left: Side,
    right: Side,
    prompt: PairPrompt,
    *,
    allowed_failures: float,
    out: Partial,
) -> Built:
    """Write a verdict per prompt and order, from the left model's side.

    Identical answers are a tie without a request; a prompt that one model could not answer has no
    verdict ("no_answer"). Both have one row, under the prompt's key alone.
    """
    items = []
    for key in sorted(left.answers.keys() & right.answers.keys()):
        a, b = left.answers[key], right.answers[key]
        if key in out.rows:
            continue
        if "too_long" in (a.finish, b.finish):
            out.add(Verdict(key, key, left.name, right.name, None, "no_answer"))
        elif a.text == b.text:
            out.add(Verdict(key, key, left.name, right.name, "tie"))
        else:
            items.append(AnswerPair(key, a.prompt, left.name, right.name, a.text, b.text))
    failures: list[Reply] = []
    wanted = 2 * len(items)
    done = {f"{item.key}/{order}" for item in items for order in ("ab", "ba")} & out.rows.keys()
    with track(f"{left.name} against {right.name}", wanted, resumed=len(done)) as advance:
        for verdict in judge_orders(judge, items, prompt, done=out.rows, failures=failures):
            out.add(verdict)
            advance()
    settle_failures(failures, wanted, allowed_share=allowed_failures)
    for reply in failures:
        key = reply.key.removesuffix("/ab").removesuffix("/ba")
        out.add(Verdict(reply.key, key, left.name, right.name, None, "failed"))
    unread = sum(row.winner is None for row in out.rows.values())
    return Built(counts={"orders_unread": unread, "failed": len(failures)}, engine=judge.identity)


def scores(
    orders: Sequence[Verdict],
    lengths: Mapping[str, tuple[int, int]],
    *,
    seed: int,
) -> list[Score]:
    """Return win, tie and lose rates in percent, with intervals and an exact sign test.

    `lengths` maps each prompt to both answers' lengths in characters. Comparisons without a
    readable verdict are counted as missing. `net` is win minus lose; `sign_test` is the two-sided
    p-value of wins against losses with ties dropped (1 if there are only ties, None without any
    verdict). `judge/...` is the judge's health.
    """
    verdicts = combine_all({verdict.key: verdict for verdict in orders})
    read = [v for v in verdicts if v.winner is not None]
    missing = len(verdicts) - len(read)
    reasons = _reasons(verdicts)
    found = [
        share_score(
            name,
            sum(v.winner == side for v in read),
            len(read),
            missing,
            reason=_NOTHING,
            detail=(reasons or None) if read else reasons,
        )
        for name, side in (("win", "A"), ("tie", "tie"), ("lose", "B"))
    ]
    found.append(_net(read, missing, reasons, seed))
    wins, losses = (sum(v.winner == side for v in read) for side in "AB")
    found.append(
        Score(
            "sign_test",
            sign_test(wins, losses).p_value if read else None,
            wins + losses,
            missing,
            reason=None if read else _NOTHING,
            detail={"wins": wins, "ties": len(read) - wins - losses, "losses": losses},
        )
    )
    health = measure_comparisons(orders, lengths)
    return found + [
        Score(
            f"judge/{m.key}",
            m.value,
            m.n,
            reason=None if m.value is not None else "nothing to measure",
            detail=dict(m.detail) if m.detail else None,
        )
        for m in health
    ]


def _net(read: Sequence[Verdict], missing: int, reasons: dict[str, int], seed: int) -> Score:
    points = {"A": 100.0, "B": -100.0, "tie": 0.0}
    values = [points[v.winner] for v in read if v.winner is not None]
    if not values:
        return Score("net", None, 0, missing, reason=_NOTHING, detail=reasons)
    low, high = bootstrap_mean(values, seed=seed) or (None, None)
    return Score("net", sum(values) / len(values), len(values), missing, low, high)


def _reasons(verdicts: Sequence[Verdict]) -> dict[str, int]:
    return dict(Counter(v.unparsed for v in verdicts if v.unparsed is not None))

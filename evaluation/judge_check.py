"""Ten requests to the configured judge that show what it is worth before money is spent."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ConfigError
from core.making import locked
from core.records import user
from core.store import Store
from evaluation.run import EvalRun
from judges.asking import Ask
from judges.backends.recorded import Recorded, reply_facts
from judges.distribution import LEAST_MASS
from judges.pairwise import (
    AnswerPair,
    order_asks,
    pair_prompt,
    read_orders,
    verdict_mass,
)
from judges.replies import parse_score
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from core.config import Config
    from judges.asking import Reply

# Of each pair the first answer is right and the second is not.
_PAIRS = (
    ("What is the capital of France?", "The capital of France is Paris.", "I like cheese."),
    (
        "Give three tips for better sleep.",
        "Go to bed at the same time every day, keep the room dark, and avoid coffee after noon.",
        "Sleep is when you sleep. Sleep. Sleep. Sleep.",
    ),
    (
        "A train goes 60 km in 45 minutes. How fast is it in km/h?",
        "45 minutes are 0.75 hours, and 60 / 0.75 = 80, so the train goes 80 km/h.",
        "It goes 45 km/h because 60 minutes are an hour.",
    ),
)


class _Checked(NamedTuple):
    asks: list[Ask]
    replies: dict[str, Reply]
    said: dict[str, Any]
    problems: list[str]


def check(config: Config) -> dict[str, Any]:
    """Ask ten questions with known answers; return what the judge made of them.

    answered_by, adapted: as in a judged artifact's manifest (`reply_facts`). pairs: three pairs in
    both orders with the prompt of head_to_head: verdicts read, pairs whose winner changes with the
    order (`flipped`), pairs won by the right answer. gradings: a right and a wrong answer by the
    rubric of self_judge. verdict_mass: mean probability of the two verdict tokens as the first
    token of two replies, or why there is none. Seconds are the median of a request; tokens and
    dollars are those of all. problems: what would spoil an evaluation; [] if nothing.

    Replies are recorded like all others, in the run's cassette: asked once, paid once.

    Raises:
        ConfigError: no request can succeed (key, rights, address, model, credit).
    """
    store = Store(config.folder)
    with locked(store.paths.lock):
        run = EvalRun(config, store)
        parts = [_gradings(run, config), _pairs(run, config), _tokens(run, config)]
        asks = [ask for part in parts for ask in part.asks]
        replies = [reply for part in parts for reply in part.replies.values()]
        facts = reply_facts(run.judge, asks)
        return {
            **facts,
            "identity": run.judge.identity,
            "requests": len(asks),
            "finished": dict(sorted(Counter(reply.finish for reply in replies).items())),
            **{name: value for part in parts for name, value in part.said.items()},
            **_cost(run, replies),
            "problems": list(dict.fromkeys(p for part in parts for p in part.problems)),
        }


def _gradings(run: EvalRun, config: Config) -> _Checked:
    section = config.judge
    rubric = load_rubric(section.rubric)
    prompt, *answers = _PAIRS[0]
    asks = [
        Ask(
            f"check/grade/{name}",
            tuple(user(rubric.render(prompt, answer))),
            section.max_new_tokens,
            section.temperature,
            section.top_p,
        )
        for name, answer in zip(("right", "wrong"), answers, strict=True)
    ]
    replies = _ask(run, asks)
    scores = {
        key: parse_score(
            reply.text,
            low=rubric.low,
            high=rubric.high,
            cut=reply.finish == "length",
            form=rubric.form,
        ).value
        for key, reply in replies.items()
    }
    right, wrong = (scores.get(ask.key) for ask in asks)
    read = {key for key, score in scores.items() if score is not None}
    said = {"gradings": {"asked": 2, "read": len(read), "right": right, "wrong": wrong}}
    return _Checked(asks, replies, said, _unread("gradings", replies, read))


def _pairs(run: EvalRun, config: Config) -> _Checked:
    prompt = pair_prompt(config.evaluation.head_to_head.prompt)
    items = [
        AnswerPair(f"check/pair{n}", text, "right", "wrong", right, wrong)
        for n, (text, right, wrong) in enumerate(_PAIRS)
    ]
    asks = order_asks(items, prompt)
    try:
        replies = _ask(run, asks)
    except ConfigError as error:
        if not prompt.weigh:
            raise
        return _Checked(asks, {}, {"pairs": str(error)}, [str(error)])
    verdicts = read_orders(replies.values(), items, prompt)
    winners = {verdict.key: verdict.winner for verdict in verdicts if verdict.winner is not None}
    both = [{winners.get(f"{item.key}/{order}") for order in ("ab", "ba")} for item in items]
    said = {
        "asked": len(asks),
        "read": len(winners),
        "flipped": both.count({"A", "B"}),
        "right": both.count({"A"}),
    }
    problems = _unread("pairs", replies, set(winners))
    if said["flipped"] > 1:
        problems.append(f"pairs: the winner changes with the order in {said['flipped']} of 3 pairs")
    return _Checked(asks, replies, {"pairs": said}, problems)


def _tokens(run: EvalRun, config: Config) -> _Checked:
    """Ask for the probabilities of verdict tokens; only a problem where a benchmark needs them."""
    section = config.evaluation
    needed = (
        section.head_to_head.prompt == "first_token" or "weighted" in section.alpaca_eval.annotator
    )
    prompt = pair_prompt("first_token")
    text, right, wrong = _PAIRS[0]
    asks = order_asks([AnswerPair("check/token", text, "right", "wrong", right, wrong)], prompt)
    try:
        replies = _ask(run, asks)
    except ConfigError as error:
        return _Checked([], {}, {"verdict_mass": str(error)}, [str(error)] if needed else [])
    found = [
        mass
        for reply in replies.values()
        if (mass := verdict_mass(reply, prompt.weigh)) is not None
    ]
    if not found:
        missing = "no log-probabilities in the replies"
        return _Checked(asks, replies, {"verdict_mass": missing}, [missing] if needed else [])
    mean = math.fsum(found) / len(found)
    few = f"verdict tokens have {mean:.2f} of the first token's probability: under {LEAST_MASS}"
    weak = [few] if needed and mean < LEAST_MASS else []
    return _Checked(asks, replies, {"verdict_mass": mean}, weak)


def _ask(run: EvalRun, asks: list[Ask]) -> dict[str, Reply]:
    return {reply.key: reply for reply in run.judge.ask(asks)}


def _unread(what: str, replies: dict[str, Reply], read: set[str]) -> list[str]:
    """Say what keeps replies from being read: failures, refusals, limits, or their words."""
    left = [reply for key, reply in replies.items() if key not in read]
    failed = [reply for reply in left if reply.finish == "failed"]
    refused = [reply for reply in left if reply.finish == "refused"]
    silent = [reply for reply in left if reply.says_nothing]
    strange = [reply for reply in left if reply not in (*failed, *refused, *silent)]
    more = "set evaluation.judge.min_reply_tokens (8192 for a reasoning model)"
    kinds = {
        "requests failed": (failed, failed[0].failure if failed else ""),
        "are refused by a content filter": (refused, ""),
        "replies reached their token limit before the first word": (silent, more),
        "replies are unreadable": (strange, repr(strange[0].text[:80]) if strange else ""),
    }
    return [
        f"{what}: {len(found)} of {len(replies)} {kind}{f': {detail}' if detail else ''}"
        for kind, (found, detail) in kinds.items()
        if found
    ]


def _cost(run: EvalRun, replies: list[Reply]) -> dict[str, Any]:
    seconds = sorted(reply.seconds for reply in replies)
    cost: dict[str, Any] = {
        "seconds": seconds[len(seconds) // 2] if seconds else None,
        "tokens_in": sum(reply.tokens_in for reply in replies),
        "tokens_out": sum(reply.tokens_out for reply in replies),
    }
    if isinstance(run.judge, Recorded):
        budget = run.judge.budget
        cost["usd"] = None if budget.price is None else budget.spent.usd + budget.replayed.usd
        cost["price"] = (
            "unknown: set evaluation.judge.price_usd"
            if budget.price is None
            else budget.price.checked
        )
        cost["from_cassette"] = budget.replayed.requests
    return cost

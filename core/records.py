"""The record types of all artifacts: frozen, typed, with a key that is unique in its artifact."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from typing_extensions import TypedDict  # pydantic wants it until Python 3.12

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDED = "added"


def added(default: Any) -> Any:
    """Return a field that came after a release: not written while it has its default.

    So the bytes of rows, and the keys of what is made from them, stay what they were.
    """
    return field(default=default, metadata={ADDED: True})


class Message(TypedDict):
    """One chat message, in the form every chat template takes."""

    role: str
    content: str


class Row(Protocol):
    """What the store needs of a record: a key that is unique within its artifact."""

    @property
    def key(self) -> str:
        """The row's identity: stable between runs with the same seed."""
        ...


def user(text: str) -> list[Message]:
    """Return a conversation with one user turn."""
    return [{"role": "user", "content": text}]


def transcript(before: Sequence[Message], prompt: str) -> str:
    """Return a prompt as one text for a judge: with the turns before it, each by its role."""
    if not before:
        return prompt
    return "\n\n".join(f"{m['role'].title()}: {m['content']}" for m in [*before, *user(prompt)])


@dataclass(frozen=True, slots=True)
class Example:
    """One instruction fine-tuning (IFT) example: a user's turn and its best human reply.

    `ended` is False for a sampled response cut by the token limit; no end token is trained then.
    `before`: the system turn and the earlier turns of the conversation.
    """

    key: str
    prompt: str
    response: str
    ended: bool = True
    before: tuple[Message, ...] = added(())

    @property
    def text(self) -> str:
        """The prompt as one text, with the turns before it."""
        return transcript(self.before, self.prompt)

    @property
    def first_turn(self) -> str:
        """The first thing that the user says in the conversation."""
        asked = (m["content"] for m in self.before if m["role"] == "user")
        return next(asked, self.prompt)


@dataclass(frozen=True, slots=True)
class Reply:
    """One human-ranked reply. Rank 0 is the best; `score` and `justification` only if written."""

    key: str
    text: str
    rank: int
    score: float | None = None
    justification: str | None = None


@dataclass(frozen=True, slots=True)
class RankedPrompt:
    """A prompt with two or more human-ranked replies, and the split it belongs to.

    `prompt` is what a judge is shown: of a conversation, the transcript up to the replies.
    """

    key: str
    prompt: str
    replies: tuple[Reply, ...]
    split: Literal["train", "eval"] = "train"


@dataclass(frozen=True, slots=True)
class JudgeExample:
    """One evaluation fine-tuning (EFT) example: what to judge and the judge's target reply."""

    key: str
    prompt: str
    response: str
    target: str
    score: float
    source: Literal["written", "constructed"]


ANSWERED = ("stop", "length")
"""The values of `finish` with which there is an answer. Others say why there is none: "too_long"
(the prompt does not fit the window), "cut_off" (the token limit cut the thought before it)."""


@dataclass(frozen=True, slots=True)
class PromptCall:
    """One few-shot call that asks for new tasks: the examples it showed, and the reply.

    `finish` and `thought` as for `Candidate`.
    """

    key: str
    call: int
    examples: tuple[str, ...]
    text: str
    tokens: int
    finish: str
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, self-instructed or of a file; `rejected` says why it was not kept, None if it was.

    `before`: the system turn and the earlier turns of a conversation that it continues.
    """

    key: str
    text: str
    rejected: str | None
    call: int
    similar_to: str | None = None
    before: tuple[Message, ...] = added(())

    @property
    def messages(self) -> list[Message]:
        """The conversation that a candidate answers."""
        return [*self.before, *user(self.text)]

    @property
    def transcript(self) -> str:
        """The prompt as one text, with the turns before it: what a judge is shown."""
        return transcript(self.before, self.text)

    @property
    def kept(self) -> bool:
        """Whether the prompt passed every filter."""
        return self.rejected is None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer sampled to be judged. `finish`: see `ANSWERED`.

    `thought` is what a thinking model wrote before it: kept, and part of nothing.
    """

    key: str
    prompt_key: str
    draw: int
    text: str
    tokens: int
    finish: str
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Judgment:
    """One judge reply about one candidate: a score in the rubric's range, or the reason why not.

    Exactly one of `score` and `unparsed` is None. `cut`: the reply stopped for lack of tokens.
    `chances` are the probabilities of the scores where their mean is the score
    (`judge.reading`); `in_words` is then what the reply itself says, None if it says none.
    """

    key: str
    subject_key: str
    prompt_key: str
    draw: int
    reply: str
    score: float | None
    unparsed: str | None
    tokens: int
    cut: bool = False
    chances: dict[str, float] | None = None
    in_words: float | None = None

    @property
    def said(self) -> float | None:
        """The score that the reply's words say, however `score` was read."""
        return self.in_words if self.chances is not None else self.score


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of comparing answers A and B of one prompt.

    `winner` is "A", "B", "tie", or None when the judge's reply in one or both orders could not be
    parsed; `unparsed` then says why. `mass`: the probability of the tokens that a verdict by first
    token is read from, None for other verdicts. `chance`: the probability that A is better, where
    the verdict is read from probabilities (`evaluation.judge.reading`).
    """

    key: str
    prompt_key: str
    a: str
    b: str
    winner: Literal["A", "B", "tie"] | None
    unparsed: str | None = None
    replies: tuple[str, ...] = ()
    mass: float | None = None
    chance: float | None = None

    def swapped(self) -> Verdict:
        """Return the same verdict with A and B exchanged."""
        flipped: dict[str, Literal["A", "B", "tie"]] = {"A": "B", "B": "A", "tie": "tie"}
        winner = flipped[self.winner] if self.winner is not None else None
        chance = None if self.chance is None else 1 - self.chance
        return replace(
            self, a=self.b, b=self.a, winner=winner, replies=self.replies[::-1], chance=chance
        )


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The outcome of one prompt: a preference pair, or the reason why there is none.

    `scores` holds each candidate's mean score in draw order (None: no reply could be read);
    `chosen`, `rejected` and their scores are None unless `outcome` is "pair"; `chosen_ended` and
    `rejected_ended` are False for answers that the token limit cut. `confidence`: the probability
    that the pair's order is right (`pairs.consistency`), None where training takes it for right.
    `before`: as of the prompt. `chosen_by` and `rejected_by`: whose answers these are ("M1", "M2",
    "future"), where pairs take those of other models (`pairs.rejected_from`, `pairs.chosen_from`).
    """

    key: str
    prompt: str
    outcome: str
    scores: tuple[float | None, ...]
    draws_parsed: tuple[int, ...]
    chosen_key: str | None = None
    rejected_key: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    chosen_score: float | None = None
    rejected_score: float | None = None
    chosen_ended: bool = True
    rejected_ended: bool = True
    confidence: float | None = added(None)
    before: tuple[Message, ...] = added(())
    chosen_by: str = added("")
    rejected_by: str = added("")


@dataclass(frozen=True, slots=True)
class JudgePair:
    """The outcome of one prompt's judgments: two of them as a pair, or the reason for none.

    `prompt` is what the judge was asked, to which all of them reply; `subject_key` the answer that
    they are about. `judgments` are the keys of those that were compared, `scores` what they say,
    `battles` the weighted wins of each (row) against each (column), `strengths` their Bradley-Terry
    strengths. `chosen` and `rejected` are None unless `outcome` is "pair".
    """

    key: str
    prompt: str
    outcome: str
    subject_key: str | None = None
    judgments: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    battles: tuple[tuple[float, ...], ...] = ()
    strengths: tuple[float, ...] = ()
    chosen_key: str | None = None
    rejected_key: str | None = None
    chosen: str | None = None
    rejected: str | None = None

    def for_training(self) -> LedgerRow:
        """Return a pair in the form that DPO is trained on; its scores are the strengths."""
        strength = dict(zip(self.judgments, self.strengths, strict=True))
        return LedgerRow(
            f"{self.key}/judge",
            self.prompt,
            self.outcome,
            self.scores,
            (1,) * len(self.scores),
            self.chosen_key,
            self.rejected_key,
            self.chosen,
            self.rejected,
            strength.get(self.chosen_key or ""),
            strength.get(self.rejected_key or ""),
        )


@dataclass(frozen=True, slots=True)
class OrderAgreement:
    """How far two judges put one prompt's answers in the same order.

    `tau` is Kendall's tau-b over the `answers` that both scored, None where either judge puts them
    in no order: fewer than two, or all of them equal.
    """

    key: str
    tau: float | None
    answers: int

    @property
    def consistency(self) -> float | None:
        """Return (tau + 1)/2: 1 the same order, 0 the reverse, ½ chance."""
        return None if self.tau is None else (self.tau + 1) / 2


@dataclass(frozen=True, slots=True)
class AnswerLogProb:
    """The log-probability of one answer under one model: the one that gave it, or the one before.

    `length` counts its tokens, of which the end of turn is none.
    """

    key: str
    candidate_key: str
    model: Literal["current", "previous"]
    total: float
    length: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """One named number and its count `n`; `value` is None when there is nothing to measure."""

    key: str
    value: float | None
    n: int
    detail: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A model's answer to one turn of a benchmark prompt.

    `finish` and `thought` as for `Candidate`; `finish` also "not_asked" (a second turn without an
    answer to the first) and "failed" (an imported answer that says it is none).
    """

    key: str
    prompt_key: str
    prompt: str
    text: str
    tokens: int
    finish: str
    turn: int = 1
    thought: str = ""


DRAW = 1.5  # an AlpacaEval preference between 1 and 2


def zero_is_a_draw(preference: float) -> float:
    """Return a preference of AlpacaEval, with 0, the package's old way to write a draw, as 1.5."""
    return DRAW if preference == 0 else preference


def preferred(preference: float) -> Literal["win", "draw", "loss"]:
    """Return what a preference of AlpacaEval says of the model against the reference."""
    value = zero_is_a_draw(preference)
    return "draw" if value == DRAW else "win" if value > DRAW else "loss"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One AlpacaEval comparison of a model's answer (output_2) with the reference's (output_1).

    `preference` in [1, 2] (2: the model is preferred, 1.5: a draw), or None and `missing` says why.
    `raw_completion` is the judge's reply as the annotator package keeps it (JSON text).
    """

    key: str
    instruction: str
    output_1: str
    output_2: str
    generator_1: str
    generator_2: str
    annotator: str
    preference: float | None
    missing: str | None
    raw_completion: str


@dataclass(frozen=True, slots=True)
class TurnJudgment:
    """One MT-Bench grade of one turn; exactly one of `score` (1..10) and `unparsed` is None.

    `judge_prompt` is FastChat's name of the prompt ("single-math-v1-multi-turn").
    """

    key: str
    question_id: int
    category: str
    turn: int
    draw: int
    model: str
    judge: str
    judge_prompt: str
    user_prompt: str
    reply: str
    score: float | None
    unparsed: str | None


@dataclass(frozen=True, slots=True)
class Tag:
    """A judge's tags of an instruction: one of 20 categories, complexity 1..10, answer length.

    A field that could not be read is None, and `unparsed` says why.
    """

    key: str
    category: str | None
    complexity: int | None
    length: str | None
    unparsed: str | None
    reply: str


@dataclass(frozen=True, slots=True)
class ItemScore:
    """One benchmark item: its metrics (`acc`, `acc_norm`, `exact_match`), and their inputs."""

    key: str
    task: str
    item: str
    metrics: dict[str, float]
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flag:
    """A training prompt that overlaps with an evaluation item.

    `kind` "equal": the same text, `overlap` is 1; "ngram": `overlap` counts shared n-grams;
    "rouge": `overlap` is ROUGE-L F in [0, 1].
    """

    key: str
    prompt_key: str
    prompt: str
    benchmark: str
    item: str
    text: str
    kind: Literal["equal", "ngram", "rouge"]
    overlap: float


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a benchmark: value, 95 % interval, the number of items, and of items left out.

    `value` is None when there is nothing to measure; `reason` then says why. `missing` counts items
    left out (unparsed, failed, absent); `detail` breaks the number down.
    """

    key: str
    value: float | None
    n: int
    missing: int = 0
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    reason: str | None = None
    detail: dict[str, Any] | None = None

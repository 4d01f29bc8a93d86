"""Head to head as a benchmark of the suite: win / tie / lose of two models on the same prompts.

Both presentation orders are judged; if they disagree the verdict is a tie. A prompt is one
observation: its two orders are never counted separately (paper, section 3.2.1 and Figure 3).
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import BENCHMARKS
from core.intervals import share_score
from core.paired import net_interval, sign_test
from core.progress import track
from core.records import ANSWERED, Score, Verdict
from core.reductions import combine_all
from core.stages import Stage
from core.store import Built
from evaluation.benchmark import Benchmark, EvaluationItem
from evaluation.generate import answers_to, load_prompts, mean_characters, prompts_source
from judges.asking import settle_failures
from judges.backends.opening import JUDGED_BY
from judges.backends.recorded import reply_facts
from judges.bounds import JudgeBound, PromptCount, benchmark_bound
from judges.health import measure_comparisons
from judges.pairwise import AnswerPair, judge_orders, order_asks, pair_prompt
from judges.rubrics.pair_rubrics import pair_rubric_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.benchmarks import Subject
    from core.evaluation_config import EvaluationSection
    from core.records import Generation
    from core.stages import Ref
    from core.store import Partial
    from evaluation.run import EvalRun
    from judges.asking import Judge, Reply
    from judges.pairwise import PairPrompt

_NOTHING = "no verdict could be read"


class Side(NamedTuple):
    """One of the two models: name, and answers by prompt key."""

    name: str
    answers: Mapping[str, Generation]


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """Compare two models on the test prompts (Figure 3), or answer them with one model.

    Answering is a step of its own so that it happens while the model is loaded.
    """
    if len(subject.models) == 1:
        return _answer_lengths(run.read(_answers(run, *subject.models)))
    left, right = refs = [_answers(run, name) for name in subject.models]
    section = run.section

    def sides() -> tuple[Side, Side]:
        one, other = (
            Side(name, {row.prompt_key: row for row in run.read(ref)})
            for name, ref in zip(subject.models, refs, strict=True)
        )
        return one, other

    verdicts = run.rows(
        subject.ref(Stage.VERDICTS),
        [left, right, *run.judge_inputs()],
        lambda out: judge_matchup(
            run.judge,
            *sides(),
            pair_prompt(section.head_to_head.prompt, section.judge.reading),
            allowed_failures=section.judge.allowed_failures,
            out=out,
        ),
        sections=(*JUDGED_BY, "evaluation.head_to_head.prompt"),
        sources=run.judge_sources() | pair_rubric_source(section.head_to_head.prompt),
    )

    def measure() -> list[Score]:
        rows: list[Verdict] = run.read(verdicts)
        one, other = sides()
        lengths = {
            key: (len(one.answers[key].text), len(other.answers[key].text))
            for key in one.answers.keys() & other.answers.keys()
        }
        return scores(rows, lengths)

    return run.scores(subject, [verdicts, left, right], measure)


def _answers(run: EvalRun, model: str) -> Ref:
    section = run.section.head_to_head
    load = partial(load_prompts, section.prompts, section.limit)
    sources = {"prompts": prompts_source(section.prompts).sha256()}
    return answers_to(run, model, "head_to_head", load, sources)


def _answer_lengths(answers: list[Generation]) -> list[Score]:
    """Return the mean length of a model's answers, the only number before they are compared."""
    unanswered = sum(row.finish not in ANSWERED for row in answers)
    n = len(answers) - unanswered
    return [Score("mean_characters", mean_characters(answers), n, unanswered)]


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
    items, known = [], []
    for key in sorted(left.answers.keys() & right.answers.keys()):
        a, b = left.answers[key], right.answers[key]
        if not {a.finish, b.finish} <= set(ANSWERED):
            known.append(Verdict(key, key, left.name, right.name, None, "no_answer"))
        elif a.text == b.text:
            known.append(Verdict(key, key, left.name, right.name, "tie"))
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
    # Last, so that a judge that never answered leaves nothing that was begun with its settings.
    out.add_missing(known)
    unread = sum(row.winner is None for row in out.rows.values())
    return Built(
        counts={"orders_unread": unread, "failed": len(failures)},
        facts=reply_facts(judge, order_asks(items, prompt)),
        engine=judge.identity,
    )


def scores(orders: Sequence[Verdict], lengths: Mapping[str, tuple[int, int]]) -> list[Score]:
    """Return win, tie and lose rates in percent, with intervals and an exact sign test.

    `lengths` maps each prompt to both answers' lengths in characters. Comparisons without a
    readable verdict are counted as missing. `net` is win minus lose, with Tango's interval;
    `sign_test` is the two-sided p-value of wins against losses with ties dropped (1 if there are
    only ties, None without any verdict). `judge/...` is the judge's health.
    """
    verdicts = combine_all({verdict.key: verdict for verdict in orders})
    read = [v for v in verdicts if v.winner is not None]
    missing = len(verdicts) - len(read)
    reasons = dict(Counter(v.unparsed for v in verdicts if v.unparsed is not None))
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
    wins, losses = (sum(v.winner == side for v in read) for side in "AB")
    found.append(_net(wins, losses, len(read), missing, reasons))
    found.append(
        Score(
            "sign_test",
            sign_test(wins, losses) if read else None,
            wins + losses,
            missing,
            reason=None if read else _NOTHING,
            detail={"wins": wins, "ties": len(read) - wins - losses, "losses": losses},
        )
    )
    return found + [
        Score(
            f"judge/{m.key}",
            m.value,
            m.n,
            reason=None if m.value is not None else "nothing to measure",
            detail=dict(m.detail) if m.detail else None,
        )
        for m in measure_comparisons(orders, lengths)
    ]


def _net(wins: int, losses: int, n: int, missing: int, reasons: dict[str, int]) -> Score:
    if not n:
        return Score("net", None, 0, missing, reason=_NOTHING, detail=reasons)
    low, high = net_interval(wins, losses, n).scaled(100)
    return Score("net", 100 * (wins - losses) / n, n, missing, low, high)


def _texts(run: EvalRun) -> list[EvaluationItem]:
    prompts = load_prompts(run.section.head_to_head.prompts, None)
    return [EvaluationItem("head_to_head", prompt.key, prompt.text) for prompt in prompts]


def _bound(run: EvalRun, subject: Subject) -> JudgeBound:
    if len(subject.models) == 1:
        return JudgeBound("head_to_head")
    section = run.section.head_to_head
    texts = [prompt.text for prompt in load_prompts(section.prompts, section.limit)]
    return benchmark_bound(run.config, "head_to_head", PromptCount.of(texts))


def _check(section: EvaluationSection) -> None:
    load_prompts(section.head_to_head.prompts, 1)
    pair_prompt(section.head_to_head.prompt, section.judge.reading)


def _columns(subject: Subject) -> tuple[str, ...]:
    one_model = len(subject.models) == 1
    return ("mean_characters",) if one_model else ("win", "tie", "lose", "sign_test")


BENCHMARK = Benchmark(
    BENCHMARKS["head_to_head"],
    evaluate,
    texts=_texts,
    bound=_bound,
    check=_check,
    columns=_columns,
)

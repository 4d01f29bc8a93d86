from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.benchmarks import Subject
from core.config import Config, IterationSection
from core.evaluation_config import EvaluationSection
from core.records import user
from core.store import Store
from judges.asking import Ask
from judges.backends.budget import FREE, Price, TokenCounter
from judges.bounds import JudgeBound, asks_bound, expected_bounds, judge_price, total

if TYPE_CHECKING:
    from pathlib import Path

PRICE = Price(10.0, 30.0)
# Three words, 4 tokens around the message and 3 before the reply: 10 tokens in, at most 10 out.
ASK = Ask("k", tuple(user("one two three")), 10)
WORDS = TokenCounter(lambda text: len(text.split()), "words")


def config(**evaluation: Any) -> Config:
    return Config(evaluation=EvaluationSection.model_validate(evaluation))


def bounds(settings: Config, k: int = 3) -> dict[str, JudgeBound]:
    return {bound.benchmark: bound for bound in expected_bounds(settings, k)[0]}


def test_the_papers_evaluation_by_hand() -> None:
    found = bounds(config())
    # 6 matches, 256 prompts, 2 orders; a prompt of 36, two answers of 388, or 2,048 at most.
    assert found["head_to_head"] == JudgeBound(
        "head_to_head", 3072, 3072 * (436 + 4096), 3072 * 100, 3072 * (400 + 36 + 776)
    )
    # 5 models, 805 prompts of 165 / 4 tokens; one token comes back.
    assert found["alpaca_eval"].requests == 4025
    assert found["alpaca_eval"].expected_in == round(4025 * (400 + 41.25 + 776))
    assert found["alpaca_eval"].tokens_out == 4025
    # 5 models, 80 questions of 404 / 4 tokens, 2 turns; both answers are shown.
    assert found["mt_bench"] == JudgeBound(
        "mt_bench", 800, 800 * (501 + 2048), 800 * 2048, 800 * (400 + 101 + 776)
    )
    # 200 candidates of each of 2 iterations.
    assert found["self_judge"] == JudgeBound(
        "self_judge", 400, 400 * (436 + 1024), 400 * 256, 400 * (436 + 388)
    )


def test_the_self_judge_is_asked_about_each_iterations_own_candidates() -> None:
    plain, own = (
        config(),
        config().model_copy(
            update={"iteration": {3: IterationSection(prompts={"count": 20}, candidates={"n": 2})}}
        ),
    )
    before, after = bounds(plain)["self_judge"], bounds(own)["self_judge"]
    # 200 of iteration 2, as before, and 40 of iteration 3.
    assert (before.requests, after.requests) == (400, 240)


def test_models_that_will_not_be_made_are_not_judged() -> None:
    found = bounds(config(), k=1)
    # M1 against the baseline is the only match left; M0, sft and M1 answer.
    assert found["head_to_head"].requests == 256 * 2
    assert found["alpaca_eval"].requests == 3 * 805
    assert found["self_judge"].requests == 0


def test_tags_are_asked_once_for_all_models() -> None:
    assert bounds(config(alpaca_eval={"tags": True}))["tags"].requests == 805
    assert "tags" not in bounds(config())


def test_benchmarks_left_out_cost_nothing() -> None:
    assert bounds(config(benchmarks=["nlp", "mt_bench"])).keys() == {"mt_bench"}


@pytest.mark.parametrize(
    ("evaluation", "reason"),
    [
        ({"head_to_head": {"limit": None}}, "head_to_head: the number of prompts"),
        ({"alpaca_eval": {"prompts": "mine.json"}}, "alpaca_eval: the number of prompts"),
        ({"alpaca_eval": {"annotator": "mine"}}, "annotator mine"),
    ],
)
def test_what_is_neither_configured_nor_published_is_unknown(
    evaluation: dict[str, Any], reason: str
) -> None:
    assert any(reason in found for found in expected_bounds(config(**evaluation), 3)[1])


def test_prices_are_the_judges_own() -> None:
    assert judge_price(config(judge={"backend": "model", "model": "M1"}).evaluation.judge) == FREE
    price = judge_price(config(judge={"base_url": "https://api.openai.com/v1"}).evaluation.judge)
    assert isinstance(price, Price)
    assert (price.input_usd, price.output_usd) == (10.0, 30.0)
    unlisted = {"model": "unheard-of", "base_url": "https://api.openai.com/v1"}
    assert judge_price(config(judge=unlisted).evaluation.judge) is None


@pytest.mark.parametrize("benchmark", ["alpaca_eval", "mt_bench"])
def test_the_upper_bound_is_the_one_that_evaluation_prints(tmp_path: Path, benchmark: str) -> None:
    from evaluation.run import EvalRun
    from evaluation.summary import bound_of

    settings = config().model_copy(update={"out_dir": str(tmp_path)})
    bound = bound_of(EvalRun(settings, Store(settings.folder)), Subject(benchmark, ("M1",)))
    assert bound is not None
    expected = bounds(settings)[benchmark]  # of five models
    assert (expected.requests, expected.tokens_out) == (5 * bound.requests, 5 * bound.tokens_out)
    # Evaluation rounds each prompt up; here the mean counts.
    assert expected.tokens_in == pytest.approx(5 * bound.tokens_in, rel=2e-3)


def test_the_bound_of_requests_is_the_most_that_asking_can_cost() -> None:
    found = asks_bound([ASK, ASK], WORDS)
    assert found == ("", 2, 20, 20, 20)
    # At 10 and 30 dollars per million: 20·10 + 20·30 = 800 millionths of a dollar.
    assert found.usd(PRICE) == pytest.approx(0.0008)
    assert found.usd(None) is None


def test_the_bound_of_nothing_is_nothing() -> None:
    assert asks_bound([], WORDS) == ("", 0, 0, 0, 0)
    assert total([]) == ("total", 0, 0, 0, 0)
    assert asks_bound([], WORDS).usd(PRICE) == 0.0


def test_a_total_adds_up_every_column() -> None:
    assert total([JudgeBound("a", 1, 2, 3, 4), JudgeBound("b", 10, 20, 30, 40)], "both") == (
        "both", 11, 22, 33, 44,
    )  # fmt: skip

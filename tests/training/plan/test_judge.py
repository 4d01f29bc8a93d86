from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.benchmarks import Subject
from core.config import Config
from core.evaluation_config import EvaluationSection
from core.store import Store
from judges.backends.budget import FREE, Price
from training.plan.judge import JudgeQuote, judge_quotes, price_for
from training.plan.shapes import Unknown

if TYPE_CHECKING:
    from pathlib import Path


def config(**evaluation: Any) -> Config:
    return Config(evaluation=EvaluationSection.model_validate(evaluation))


def quotes(settings: Config, k: int = 3) -> dict[str, JudgeQuote]:
    found = judge_quotes(settings, k)
    return {q.benchmark: q for q in found if isinstance(q, JudgeQuote)}


def test_the_papers_evaluation_by_hand() -> None:
    found = quotes(config())
    # 6 matches, 256 prompts, 2 orders; a prompt of 36, two answers of 388, or 2,048 at most.
    assert found["head_to_head"] == JudgeQuote(
        "head_to_head", 3072, 3072 * (400 + 36 + 776), 3072 * (436 + 4096), 3072 * 100
    )
    # 5 models, 805 prompts of 165 / 4 tokens; one token comes back.
    assert found["alpaca_eval"].requests == 4025
    assert found["alpaca_eval"].read == round(4025 * (400 + 41.25 + 776))
    assert found["alpaca_eval"].written == 4025
    # 5 models, 80 questions of 404 / 4 tokens, 2 turns; both answers are shown.
    assert found["mt_bench"] == JudgeQuote(
        "mt_bench", 800, 800 * (400 + 101 + 776), 800 * (501 + 2048), 800 * 2048
    )
    # 200 candidates of each of 2 iterations.
    assert found["self_judge"] == JudgeQuote(
        "self_judge", 400, 400 * (436 + 388), 400 * (436 + 1024), 400 * 256
    )


def test_models_that_will_not_be_made_are_not_judged() -> None:
    found = quotes(config(), k=1)
    # M1 against the baseline is the only match left; M0, sft and M1 answer.
    assert found["head_to_head"].requests == 256 * 2
    assert found["alpaca_eval"].requests == 3 * 805
    assert found["self_judge"].requests == 0


def test_tags_are_asked_once_for_all_models() -> None:
    assert quotes(config(alpaca_eval={"tags": True}))["tags"].requests == 805
    assert "tags" not in quotes(config())


def test_benchmarks_left_out_cost_nothing() -> None:
    assert quotes(config(benchmarks=["nlp", "mt_bench"])).keys() == {"mt_bench"}


@pytest.mark.parametrize(
    ("evaluation", "reason"),
    [
        ({"head_to_head": {"limit": None}}, "head_to_head: how many prompts"),
        ({"alpaca_eval": {"prompts": "mine.json"}}, "alpaca_eval: how many prompts"),
        ({"alpaca_eval": {"annotator": "mine"}}, "annotator mine"),
    ],
)
def test_what_is_neither_configured_nor_published_is_unknown(
    evaluation: dict[str, Any], reason: str
) -> None:
    unknown = [q for q in judge_quotes(config(**evaluation), 3) if isinstance(q, Unknown)]
    assert any(reason in str(found) for found in unknown)


def test_prices_are_the_judges_own() -> None:
    assert price_for(config(judge={"backend": "model", "model": "M1"})) == FREE
    price = price_for(config(judge={"base_url": "https://api.openai.com/v1"}))
    assert isinstance(price, Price)
    assert (price.input_usd, price.output_usd) == (10.0, 30.0)
    unlisted = {"model": "unheard-of", "base_url": "https://api.openai.com/v1"}
    assert price_for(config(judge=unlisted)) is None


@pytest.mark.parametrize("benchmark", ["alpaca_eval", "mt_bench"])
def test_the_upper_bound_is_the_one_that_evaluation_prints(tmp_path: Path, benchmark: str) -> None:
    from evaluation.plan import bound_of
    from evaluation.run import EvalRun

    settings = config().model_copy(update={"out_dir": str(tmp_path)})
    bound = bound_of(EvalRun(settings, Store(settings.folder)), Subject(benchmark, ("M1",)))
    assert bound is not None
    quote = quotes(settings)[benchmark]  # of five models
    assert (quote.requests, quote.written) == (5 * bound.requests, 5 * bound.tokens_out)
    # Evaluation rounds each prompt up; here the mean counts.
    assert quote.read_most == pytest.approx(5 * bound.tokens_in, rel=2e-3)

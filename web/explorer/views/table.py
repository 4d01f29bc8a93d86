"""The table of views. A new view is a function in a module of this folder and one entry here.

Routes (app.py), navigation, the lines of the overview and the pages that search hits lead to
follow from the table.
"""

from __future__ import annotations

from core.benchmarks import BENCHMARKS
from core.stages import Stage
from web.explorer.views import (
    alpaca_eval,
    head_to_head,
    items,
    judging,
    loop,
    mt_bench,
    overview,
    prompt,
    rows,
)
from web.explorer.views.view import ANSWER_ORDER, Scores, View

VIEWS: tuple[View, ...] = (
    View("/", lambda source, _: overview.run(source, VIEWS), about="Iterations, scores, models."),
    View(
        "/iteration/{k}", lambda source, query: overview.iteration(source, VIEWS, query.k),
        about="An iteration's artifacts, checks and judge health.",
    ),
    View(
        "/iteration/{k}/prompts", loop.prompts, filters=(loop.PROMPT_ORDER,),
        asks=("outcome", "q", "page"), rows_of=(("", Stage.PROMPTS),),
    ),
    View(
        "/iteration/{k}/prompt", prompt.prompt, asks=("key",),
        rows_of=(
            ("", Stage.PROMPTS), ("", Stage.CANDIDATES), ("", Stage.JUDGMENTS),
            ("self_judge", Stage.EXTERNAL_JUDGMENTS),
        ),
    ),
    View(
        "/iteration/{k}/judgments", loop.judgments,
        filters=(loop.JUDGMENT_SHOW, loop.JUDGMENT_ORDER), asks=("outcome", "q", "page"),
        rows_of=(("", Stage.CANDIDATES), ("", Stage.JUDGMENTS)),
    ),
    View(
        "/iteration/{k}/pairs", loop.pairs, filters=(loop.PAIR_ORDER,),
        asks=("outcome", "q", "page"), rows_of=(("", Stage.PAIRS),),
    ),
    View(
        "/iteration/{k}/self-judge", judging.self_judge, filters=(judging.BOTH_SHOW,),
        asks=("page",), rows_of=(("self_judge", Stage.EXTERNAL_JUDGMENTS),),
        scores=Scores(
            "iteration", "Self-judge against the external judge, iteration {name}",
            "self_judge/iter{name}", ("mean_difference", "order_agreement"),
        ),
    ),
    View(
        "/head-to-head", head_to_head.comparisons, "Head to head",
        filters=(head_to_head.SHOW, ANSWER_ORDER), asks=("model", "page"),
        rows_of=(("head_to_head", Stage.VERDICTS),),
        scores=Scores(
            "matchup", "Head to head, {name}", "head_to_head/{name}", ("win", "tie", "lose")
        ),
    ),
    View(
        "/head-to-head/prompt", head_to_head.prompt, asks=("key",),
        rows_of=(("head_to_head", Stage.VERDICTS), ("head_to_head", Stage.ANSWERS)),
    ),
    View(
        "/alpaca-eval", alpaca_eval.outcomes, "AlpacaEval",
        filters=(ANSWER_ORDER,), asks=("model", "outcome", "page"),
        rows_of=(("alpaca_eval", Stage.ANNOTATIONS),),
        scores=Scores(
            "model", "AlpacaEval, {name}", "{name}/alpaca_eval",
            ("win_rate", "length_controlled_win_rate"),
        ),
    ),
    View(
        "/alpaca-eval/prompt", alpaca_eval.instruction, asks=("key",),
        rows_of=(("alpaca_eval", Stage.ANNOTATIONS), ("alpaca_eval", Stage.ANSWERS)),
    ),
    View(
        "/mt-bench", mt_bench.grades, "MT-Bench",
        filters=(mt_bench.SHOW, mt_bench.ORDER), asks=("model", "page"),
        rows_of=(("mt_bench", Stage.TURN_JUDGMENTS),),
        scores=Scores("model", "MT-Bench, {name}", "{name}/mt_bench", ("overall",)),
    ),
    View(
        "/mt-bench/question", mt_bench.question, asks=("key",),
        rows_of=(("mt_bench", Stage.TURN_JUDGMENTS), ("mt_bench", Stage.ANSWERS)),
    ),
    *(
        view
        for facts in BENCHMARKS.values()
        if facts.of == "model" and facts.stages == (Stage.ITEMS,)
        for view in items.views(
            facts.name,
            f"/{facts.name}/{{task}}" if facts.parts else f"/{facts.name}",
            "NLP task {task}" if facts.parts else facts.title,
        )
    ),
    View(
        "/agreement", judging.agreement, "Human rankings",
        filters=(judging.RANKED_SHOW,), asks=("model", "page"),
        scores=Scores(
            "judge", "Human rankings, {name}", "{name}/agreement",
            ("pairwise_accuracy", "spearman"),
        ),
    ),
    View(
        "/agreement/prompt", judging.ranked_prompt, asks=("key",),
        rows_of=(
            ("", Stage.RANKED), ("", Stage.PROBE), ("", Stage.EFT_JUDGMENTS),
            ("agreement", Stage.RANKED_JUDGMENTS),
        ),
    ),
    View(
        "/search", lambda source, query: rows.search(source, VIEWS, query),
        about="The rows of the run that hold every word.", asks=("q", "only", "page"),
    ),
    View("/artifact", rows.artifact, asks=("address", "outcome", "q", "page")),
    View("/row", rows.row, asks=("artifact", "key")),
)  # fmt: skip

"""The table of views. A new view is a function in a module of this folder and one entry here.

Routes (routes.py), navigation, the lines of the overview and the pages that search hits lead to
follow from the table.
"""

from __future__ import annotations

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
    search,
)
from web.explorer.views.view import ANSWER_ORDER, Scores, View

VIEWS: tuple[View, ...] = (
    View(
        "/", "The run: iterations, scores, models.", lambda source, _: overview.run(source, VIEWS)
    ),
    View(
        "/iteration/{k}",
        "An iteration's artifacts, checks and judge health.",
        lambda source, query: overview.iteration(source, VIEWS, query.k),
    ),
    View(
        "/iteration/{k}/prompts",
        "An iteration's prompts: kept, or rejected and why.",
        loop.prompts,
        filters=(loop.PROMPT_ORDER,),
        asks=("outcome", "q", "page"),
        rows_of=(("", Stage.PROMPTS),),
    ),
    View(
        "/iteration/{k}/prompt",
        "One prompt with its call, candidates, judgments and pair.",
        prompt.prompt,
        asks=("key",),
        rows_of=(
            ("", Stage.PROMPTS),
            ("", Stage.CANDIDATES),
            ("", Stage.JUDGMENTS),
            ("self_judge", Stage.EXTERNAL_JUDGMENTS),
        ),
    ),
    View(
        "/iteration/{k}/judgments",
        "The judge's replies, or the answers about which they disagree.",
        loop.judgments,
        filters=(loop.JUDGMENT_SHOW, loop.JUDGMENT_ORDER),
        asks=("outcome", "q", "page"),
        rows_of=(("", Stage.CANDIDATES), ("", Stage.JUDGMENTS)),
    ),
    View(
        "/iteration/{k}/pairs",
        "What became of each prompt: a preference pair, or why not.",
        loop.pairs,
        filters=(loop.PAIR_ORDER,),
        asks=("outcome", "q", "page"),
        rows_of=(("", Stage.PAIRS),),
    ),
    View(
        "/iteration/{k}/self-judge",
        "Answers scored by the run's own judge and by the external one.",
        judging.self_judge,
        filters=(judging.BOTH_SHOW,),
        asks=("page",),
        rows_of=(("self_judge", Stage.EXTERNAL_JUDGMENTS),),
        scores=Scores(
            "iteration",
            "Self-judge against the external judge, iteration {name}",
            "self_judge/iter{name}",
            ("mean_difference", "order_agreement"),
        ),
    ),
    View(
        "/head-to-head",
        "Comparisons; `model` is a pair of models such as M2-M1.",
        head_to_head.comparisons,
        "Head to head",
        filters=(head_to_head.SHOW, ANSWER_ORDER),
        asks=("model", "page"),
        rows_of=(("head_to_head", Stage.VERDICTS),),
        scores=Scores(
            "matchup", "Head to head, {name}", "head_to_head/{name}", ("win", "tie", "lose")
        ),
    ),
    View(
        "/head-to-head/prompt",
        "Every model's answer to a prompt and every verdict.",
        head_to_head.prompt,
        asks=("key",),
        rows_of=(("head_to_head", Stage.VERDICTS), ("head_to_head", Stage.ANSWERS)),
    ),
    View(
        "/alpaca-eval",
        "AlpacaEval's annotations of one model or of all.",
        alpaca_eval.outcomes,
        "AlpacaEval",
        filters=(ANSWER_ORDER,),
        asks=("model", "outcome", "page"),
        rows_of=(("alpaca_eval", Stage.ANNOTATIONS),),
        scores=Scores(
            "model",
            "AlpacaEval, {name}",
            "{name}/alpaca_eval",
            ("win_rate", "length_controlled_win_rate"),
        ),
    ),
    View(
        "/alpaca-eval/prompt",
        "Every answer to an instruction with the judge's reply.",
        alpaca_eval.instruction,
        asks=("key",),
        rows_of=(("alpaca_eval", Stage.ANNOTATIONS), ("alpaca_eval", Stage.ANSWERS)),
    ),
    View(
        "/mt-bench",
        "MT-Bench's grades of one model or of all.",
        mt_bench.grades,
        "MT-Bench",
        filters=(mt_bench.SHOW, mt_bench.ORDER),
        asks=("model", "page"),
        rows_of=(("mt_bench", Stage.TURN_JUDGMENTS),),
        scores=Scores("model", "MT-Bench, {name}", "{name}/mt_bench", ("overall",)),
    ),
    View(
        "/mt-bench/question",
        "Every answer to both turns of a question with every grade.",
        mt_bench.question,
        asks=("key",),
        rows_of=(("mt_bench", Stage.TURN_JUDGMENTS), ("mt_bench", Stage.ANSWERS)),
    ),
    *items.views("nlp", "/nlp/{task}", "NLP task {task}"),
    View(
        "/agreement",
        "How a judge scored the replies that humans ranked.",
        judging.agreement,
        "Human rankings",
        filters=(judging.RANKED_SHOW,),
        asks=("model", "page"),
        scores=Scores(
            "judge",
            "Human rankings, {name}",
            "{name}/agreement",
            ("pairwise_accuracy", "spearman"),
        ),
    ),
    View(
        "/agreement/prompt",
        "A prompt's human-ranked replies with every judge's replies.",
        judging.ranked_prompt,
        asks=("key",),
        rows_of=(
            ("", Stage.RANKED),
            ("", Stage.PROBE),
            ("", Stage.EFT_JUDGMENTS),
            ("agreement", Stage.RANKED_JUDGMENTS),
        ),
    ),
    View(
        "/search",
        "The rows of the run that hold every word.",
        lambda source, query: search.search(source, VIEWS, query),
        asks=("q", "only", "page"),
    ),
    View(
        "/artifact",
        "An artifact's rows with what it was made from.",
        rows.artifact,
        asks=("address", "outcome", "q", "page"),
    ),
    View("/row", "One row exactly as it is.", rows.row, asks=("artifact", "key")),
)

"""The command line: `srlm-eval run` evaluates a run; the other commands work on files."""

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from core.command import Reuse, Version, results, run_command, runs_in
from core.config import load_config
from core.errors import ConfigError
from evaluation.human.commands import app as human_eval
from evaluation.human.commands import human_results
from web.explorer.commands import explore

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Evaluate the models of a run, or score a file. Results go to stdout, messages to stderr.",
)


@app.callback()
def srlm_eval(*, version: Version = False) -> None:
    """Options of the command itself."""


app.add_typer(human_eval, name="human-eval")
app.command()(human_results)
app.command()(explore)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override, e.g. --set evaluation.nlp.limit=50.")
]
ModelName = Annotated[
    str, typer.Option(help="The model's name, where an annotation file has none (generator_2).")
]
ReferenceName = Annotated[str, typer.Option(help="The reference's, where it has none.")]
Dtype = Annotated[str, typer.Option(help="Data type of a local model: float32 or bfloat16.")]
RunConfig = Annotated[Path, typer.Option(help="The run's TOML file.")]


@app.command()
def run(
    config: RunConfig,
    models: Annotated[
        str | None, typer.Option(help="Only these, e.g. M1,M2 (default: evaluation.models).")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Only these benchmarks, e.g. nlp,mt_bench (evaluation.benchmarks)."),
    ] = None,
    redo: Annotated[
        str | None,
        typer.Option(help="Rebuild what matches, e.g. mt_bench, M2, M2/nlp/piqa, or 'stale'."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and the judge's maximum cost.")
    ] = False,
    reuse: Reuse = None,
    settings: Settings = None,
) -> None:
    """Run every benchmark on every model of a run; completed ones are not repeated."""
    chosen = list(settings or [])
    if models is not None:
        chosen.append(f"evaluation.models={json.dumps(models.split(','))}")
    if only is not None:
        chosen.append(f"evaluation.benchmarks={json.dumps(only.split(','))}")
    from engines.precision import resolve, summary

    others = runs_in(reuse)
    loaded = resolve(load_config(config, chosen), reuse=others)
    if models is not None:
        from evaluation.run import require_made

        require_made(loaded)
    if dry_run:
        from evaluation.summary import plan_table

        results().print(plan_table(loaded))
        results().print(summary(loaded))
        return
    from evaluation.suite import evaluate, raise_failures
    from evaluation.summary import notes, results_tables

    outcomes = evaluate(loaded, redo=redo, reuse=others)
    out = results()
    for table in results_tables(outcomes):
        out.print(table)
    for line in notes(outcomes, loaded.evaluation):
        out.print(line, soft_wrap=True, markup=False)
    raise_failures(outcomes)


@app.command("judge-check")
def judge_check(config: RunConfig, as_json: AsJson = False, settings: Settings = None) -> None:
    """Ask the configured judge ten questions: does it answer, readably, at what price?

    Exit code 0: fit to judge; 1: it answers, and something listed under `problems` would spoil an
    evaluation; 2: no request can succeed, or a wrong setting.
    """
    from engines.precision import resolve
    from evaluation.judge_check import check

    found = check(resolve(load_config(config, settings)))
    _print(found, as_json=as_json)
    if found["problems"]:
        raise typer.Exit(1)


@app.command()
def export(
    config: RunConfig,
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    settings: Settings = None,
) -> None:
    """Write a run's MT-Bench in FastChat's formats and its AlpacaEval annotations."""
    from evaluation.files.exchange import export as write

    for path in write(load_config(config, settings), to):
        results().print(str(path), soft_wrap=True)


@app.command("import")
def import_(
    to: Annotated[Path, typer.Option(help="Folder to write to, e.g. runs/recorded.")],
    annotations: Annotated[
        list[Path] | None, typer.Option(help="Annotation file of AlpacaEval (.gz or not).")
    ] = None,
    judgments: Annotated[
        list[Path] | None, typer.Option(help="FastChat's judgment file (.gz or not).")
    ] = None,
    length_control_data: Annotated[
        Path | None, typer.Option(help="Folder with AlpacaEval's df_gamed.csv.")
    ] = None,
    model: ModelName = "",
    reference: ReferenceName = "",
    redo: Annotated[bool, typer.Option("--redo", help="Replace earlier imports.")] = False,
) -> None:
    """Import recorded results as artifacts that `srlm-report build --run FOLDER` reads."""
    from evaluation.alpaca_eval.scores import recorded_results as annotated
    from evaluation.files.exchange import import_results
    from evaluation.mt_bench.fastchat_files import recorded_results as judged

    if not annotations and not judgments:
        message = "import: give at least one --annotations FILE or --judgments FILE"
        raise ConfigError(message)
    data = str(length_control_data) if length_control_data is not None else None
    files = chain(
        (annotated(path, data, model=model, reference=reference) for path in annotations or ()),
        (found for path in judgments or () for found in judged(path)),
    )
    for line in import_results(to, files, redo=redo):
        results().print(line, markup=False)


@app.command("alpaca-eval")
def alpaca_eval(
    annotations: Annotated[Path, typer.Option(help="Annotation file of AlpacaEval (.gz or not).")],
    length_control_data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with AlpacaEval's df_gamed.csv; none: lengths alone (length_only)."
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Refits for the length-controlled interval; 0: none.")
    ] = 200,
    model: ModelName = "",
    reference: ReferenceName = "",
    as_json: AsJson = False,
) -> None:
    """Win rate, discrete and length-controlled, of recorded AlpacaEval annotations."""
    from evaluation.alpaca_eval.scores import report

    data = str(length_control_data) if length_control_data is not None else None
    found = report(annotations, data, bootstrap=bootstrap, model=model, reference=reference)
    _print(found, as_json=as_json)


@app.command("mt-bench")
def mt_bench(
    judgments: Annotated[Path, typer.Option(help="FastChat's judgment file (.gz or not).")],
    questions: Annotated[
        Path | None,
        typer.Option(help="Your own question.jsonl, or its folder (default: MT-Bench's 80)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Scores per model of recorded MT-Bench judgments."""
    from evaluation.mt_bench.fastchat_files import report

    _print(report(judgments, questions), as_json=as_json)


@app.command()
def agreement(
    ranked: Annotated[Path, typer.Option(help="Replies with human ranks and judge scores.")],
    as_json: AsJson = False,
) -> None:
    """Agreement of scores with human rankings: the five metrics of the paper's Table 4."""
    from evaluation.files.ranked_files import report

    _print(report(ranked), as_json=as_json)


@app.command()
def compare(
    a: Annotated[Path, typer.Option("--a", help="Per-item scores of one model.")],
    b: Annotated[Path, typer.Option("--b", help="Per-item scores of the other.")],
    as_json: AsJson = False,
) -> None:
    """Compare two models item by item: difference, interval and paired test per metric."""
    from evaluation.files.score_files import report

    _print(report(a, b), as_json=as_json)


@app.command("parse-judgments")
def parse_judgments(
    file: Annotated[Path, typer.Option(help="JSONL; `response` holds a judge's reply.")],
    form: Annotated[
        str,
        typer.Option(help="Reply format: additive, li, rating, ranking, pair, arena or a rubric."),
    ] = "additive",
    as_json: AsJson = False,
) -> None:
    """Parse every judge reply of a file: the score, or why it has none."""
    from evaluation.files.reply_files import FORMS, report

    if form not in FORMS and not form.endswith(".md"):
        listed = ", ".join(FORMS)
        raise ConfigError(f"--form {form!r}: expected one of {listed} or a rubric's path (.md)")
    _print(report(file, form), as_json=as_json)


@app.command()
def nlp(
    model: Annotated[Path, typer.Option(help="Model folder (safetensors).")],
    data_dir: Annotated[
        str | None, typer.Option(help="Folder of JSONL in the hub's schema, or 'sample'.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="lm-eval's names, e.g. piqa,mmlu (default: all nine).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Items per task.")] = None,
    dtype: Dtype = "float32",
    engine: Annotated[str, typer.Option(help="transformers or vllm (docs/scale.md).")] = (
        "transformers"
    ),
    as_json: AsJson = False,
) -> None:
    """Run NLP benchmarks through lm-eval on a model folder."""
    from evaluation.nlp.tasks import report

    wanted = tasks.split(",") if tasks else None
    _print(report(model, data_dir, wanted, limit, dtype=dtype, engine_kind=engine), as_json=as_json)


@app.command()
def ifeval(
    responses: Annotated[
        Path, typer.Option(help="JSONL with `response`, and `prompt` or `key` (.gz or not).")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="'hub', 'sample', or a JSONL file (default: input_data.jsonl beside the "
            "responses, else the hub)."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first prompts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check recorded responses to IFEval's prompts: which instructions are followed?"""
    from evaluation.ifeval.scores import report

    _print(report(responses, data, limit), as_json=as_json)


@app.command()
def llmbar(
    file: Annotated[Path, typer.Option(help="One of LLMBar's files of labelled pairs.")],
    model: Annotated[str, typer.Option(help="Model folder, or with --base-url its name there.")],
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server (or 'openai'); none: local.")
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="alpaca_eval, mt_bench, first_token or a rubric for pairs (.md).")
    ] = "first_token",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first items.")] = None,
    cassette: Annotated[
        Path,
        typer.Option(help="File that records the replies; recorded requests are not sent again."),
    ] = Path("runs/llmbar.cassette.sqlite"),
    dtype: Dtype = "float32",
    as_json: AsJson = False,
) -> None:
    """Agreement of a pairwise judge with LLMBar's human labels, beside chance and length."""
    from core.evaluation_config import JudgeBackendSection
    from evaluation.files.llmbar import report
    from judges.pairwise import NAMES

    if prompt not in NAMES and not prompt.endswith(".md"):
        listed = ", ".join(NAMES)
        message = f"--prompt {prompt!r}: expected one of {listed} or a rubric's path (.md)"
        raise ConfigError(message)
    try:
        section = JudgeBackendSection(
            backend="openai" if base_url else "model",
            model=model,
            base_url=None if base_url == "openai" else base_url,
        )
    except ValidationError as error:
        message = f"--base-url: {error.errors()[0]['msg']}"
        raise ConfigError(message) from None
    found = report(file, section, prompt=prompt, cassette=cassette, limit=limit, dtype=dtype)
    _print(found, as_json=as_json)


@app.command("judge-accuracy")
def judge_accuracy(
    verdicts: Annotated[
        list[Path],
        typer.Option(help="Recorded verdicts of a judge; several on the same pairs: a jury too."),
    ],
    labels: Annotated[
        Path | None, typer.Option(help="The labels, where the verdicts' file has none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of recorded pairwise verdicts against labels: LLMBar, JudgeBench, PandaLM, own."""
    from evaluation.files.judge_accuracy import report

    _print(report(verdicts, labels), as_json=as_json)


@app.command("judge-rate")
def judge_rate(
    verdicts: Annotated[Path, typer.Option(help="Recorded verdicts, as judge-accuracy reads.")],
    labels: Annotated[
        Path | None, typer.Option(help="People's labels of a random part of the pairs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Correct a judge's win rate by people's labels of some of its pairs."""
    from evaluation.files.judge_rate import report

    _print(report(verdicts, labels), as_json=as_json)


@app.command()
def wildbench(
    scores: Annotated[
        Path | None, typer.Option(help="A model's answers with a judge's scores: WB-Score.")
    ] = None,
    rewards: Annotated[
        Path | None, typer.Option(help="Counts of comparisons by model: WB-Reward.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """WildBench's WB-Score or WB-Reward from its recorded files."""
    from evaluation.files.wildbench import report_rewards, report_scores

    if scores is not None and rewards is None:
        found = report_scores(scores)
    elif rewards is not None and scores is None:
        found = report_rewards(rewards)
    else:
        message = "wildbench: give exactly one of --scores FILE and --rewards FILE"
        raise ConfigError(message)
    _print(found, as_json=as_json)


@app.command("arena-hard")
def arena_hard(
    judgments: Annotated[
        list[Path] | None, typer.Option(help="Recorded judgments of Arena-Hard; may be repeated.")
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(help="Answers of the models and of the baseline: rates at equal style too."),
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="Ratings of many models: their separability instead.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Model that the others are compared with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Arena-Hard's win rates from recorded judgments or ratings; style counts of answers."""
    from evaluation.arena_hard import files

    if (ratings is None) == (not judgments and not answers):
        message = "arena-hard: give --judgments (with --answers), --answers alone, or --ratings"
        raise ConfigError(message)
    if ratings is not None:
        found = files.report_ratings(ratings, baseline)
    elif judgments:
        found = files.report_judgments(judgments, answers or (), baseline=baseline)
    else:
        found = files.report_styles(answers or ())
    _print(found, as_json=as_json)


@app.command()
def cassette(
    file: Annotated[Path, typer.Option(help="The cassette (SQLite), e.g. of a run's eval/.")],
    export: Annotated[
        Path | None, typer.Option(help="Write its requests and replies to this JSONL file.")
    ] = None,
    add: Annotated[
        Path | None, typer.Option("--import", help="Add the recordings of this JSONL file.")
    ] = None,
) -> None:
    """Export a record of judge requests and replies to JSONL, or import one."""
    from judges.backends.cassette import Cassette

    if (export is None) == (add is None):
        message = "cassette: give exactly one of --export FILE and --import FILE"
        raise ConfigError(message)
    with Cassette(file, read_only=export is not None) as opened:
        count = opened.export(export) if export is not None else 0
        if add is not None:
            count = opened.import_(add)
    results().print(f"{count} recordings {'written' if export is not None else 'added'}")


def _print(found: Any, *, as_json: bool) -> None:
    if as_json:
        in_ascii = "utf" not in (sys.stdout.encoding or "utf-8").lower()  # \xe9 is no JSON
        sys.stdout.write(json.dumps(found, ensure_ascii=in_ascii, allow_nan=False) + "\n")
        return
    for name, value in _flat(found):
        results().print(f"{name:<48} {value}", markup=False)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value of a nested report with its dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], dict | str):
        for at, inner in enumerate(value, start=1):
            yield from _flat(inner, f"{name}.{at}" if name else str(at))
    elif isinstance(value, float):
        yield name, f"{value:.4f}"
    else:
        yield name, "–" if value is None else str(value)


main = partial(run_command, app)


if __name__ == "__main__":
    main()

"""A report made by hand: every kind of cell, row, figure, link and artifact, and hostile words.

The measured numbers are invented; the published ones are the paper's.
"""

from __future__ import annotations

import hashlib
from html import escape

from reports.document import (
    Artifact,
    Cell,
    Figure,
    Item,
    Link,
    Published,
    Report,
    RowGroup,
    Section,
    Table,
    TableRow,
)

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</script><script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "<!-- <style>body { display: none }</style> {{ 7 * 7 }} {% raw %}",
    "\u202eright to left\u202c \u2067مرحبا\u2069",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk" * 6,
    "quote ' and \" and &amp; and \\u003c and half a character \ud83d and a bell \x07",
)
JUDGE_WORDS = "Output (m) names the ports and the tides. Output (M) repeats the question. Best: m"
ANNOTATIONS = "eval/M2/alpaca_eval/annotations"
PAIRS = "iter2/pairs"
ALPACA_ROWS = "alpaca_eval/M2"
PIQA_ROWS = "nlp/M2/piqa"
HOSTILE_ROWS = "words/of strangers"
WHY_FAILED = (
    "failed: the judge at https://judge.example answered 503 to 41 of 160 requests, more than the "
    "5 % that evaluation.judge.allowed_failures accepts; run `make eval-all` again"
)


def report() -> Report:
    """Return the report, the same each time."""
    return Report(
        title="Self-rewarding run “harbour”",
        facts=(
            ("Run", "harbour"),
            ("Base model", "SmolLM2-135M (embedded)"),
            ("Models", "SFT, M1, M2, M3"),
            ("Judge", "gpt-4-1106-preview, replayed from the cassette"),
            ("Seed", "0"),
            ("Code version", "0.1.0+3f9c2e1"),
        ),
        sections=(summary(), head_to_head(), alpaca_eval(), mt_bench(), nlp(), strangers()),
        groups={group.key: group for group in (alpaca_rows(), pairs(), piqa_rows(), hostile())},
        artifacts={made.address: made for made in artifacts()},
    )


def summary() -> Section:
    """Return what stands first: words and the headline numbers."""
    rows = (
        TableRow("SFT", (Cell(7.95, n=805, low=6.1, high=9.8), Cell(5.91, n=80), Cell(34.02))),
        TableRow("M1", (Cell(9.69, n=805, low=7.7, high=11.8), Cell(5.86, n=80), Cell(35.48))),
        TableRow(
            "M2",
            (
                Cell(14.66, low=12.3, high=17.1, n=802, missing=3, rows=ALPACA_ROWS),
                Cell(6.12, low=5.71, high=6.5, n=79, missing=1),
                Cell(33.07, low=31.6, high=34.6, n=1838, rows=PIQA_ROWS),
            ),
        ),
        TableRow("M3", (Cell(reason="M3 is not trained yet"),) * 3),
    )
    table = Table(
        key="headline",
        title="What each iteration changed",
        head="Model",
        columns=("AlpacaEval 2.0, win rate %", "MT-Bench, of 10", "PIQA, accuracy %"),
        rows=rows,
        notes=("Other base model than the paper’s: published numbers stand in the tables below.",),
    )
    words = (
        "M2 wins 14.66 % of its comparisons with GPT-4 Turbo, M1 9.69 %: a paired difference of "
        "4.97 points [2.1, 7.9] over 802 shared prompts.",
        "M3 has not been trained. Three AlpacaEval replies of the judge could not be read; they "
        "are counted as missing and not as losses.",
    )
    return Section("summary", "Summary", paragraphs=words, tables=(table,))


def head_to_head() -> Section:
    """Return win, tie, lose: a figure and its table."""
    shares = {"M1 vs SFT": (30.1, 39.4, 30.5), "M2 vs SFT": (47.3, 37.5, 15.2)}
    table = Table(
        key="head_to_head",
        title="Head to head, 256 prompts in both orders",
        head="Left vs right",
        columns=("Win %", "Tie %", "Lose %"),
        rows=tuple(
            TableRow(
                name,
                tuple(
                    Cell(value, digits=1, low=value - 5.7, high=value + 5.9, n=256)
                    for value in found
                ),
            )
            for name, found in shares.items()
        ),
        origin="Figure 3",
        notes=("A verdict that changes with the order is a tie.",),
    )
    figure = Figure(
        key="head_to_head_bars",
        title="Win, tie, lose",
        svg=_bars(shares),
        description="Two bars. M1 vs SFT: 30.1, 39.4, 30.5 %. M2 vs SFT: 47.3, 37.5, 15.2 %.",
        origin="Figure 3",
    )
    return Section("head_to_head", "Head to head", figures=(figure,), tables=(table,))


def _bars(shares: dict[str, tuple[float, float, float]]) -> str:
    """Return stacked bars, one line each, 100 % being 400 units wide."""
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 84" width="520" height="84"']
    parts.append(' role="img" aria-label="Win, tie, lose" font-size="12" fill="currentColor">')
    for line, (name, found) in enumerate(shares.items()):
        top = 8 + 38 * line
        parts.append(f'<text x="0" y="{top + 18}">{escape(name)}</text>')
        left = 100.0
        for value, colour in zip(found, ("#0072b2", "#6f6f6f", "#b84f00"), strict=True):
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{4 * value:.1f}" height="28" '
                f'style="fill: {colour}"/><text x="{left + 8:.1f}" y="{top + 18}" '
                f'style="fill: #fff">{value:.1f}</text>'
            )
            left += 4 * value
    return "".join([*parts, "</svg>"])


def alpaca_eval() -> Section:
    """Return Table 1: published values beside ours, and the leaderboard's rows."""
    board = {
        "GPT-4 0314": 22.07,
        "Claude 2": 17.19,
        "Humpback LLaMa2 70B": 10.12,
        "Alpaca 7B": 2.59,
    }
    ours = (
        TableRow("M1", (_won(9.69, 9.94), Cell(1_086, digits=0, n=805))),
        TableRow(
            "M2",
            (
                Cell(14.66, low=12.3, high=17.1, n=802, missing=3, rows=ALPACA_ROWS,
                     published=Published(15.38, "Table 1")),
                Cell(1_549, digits=0, n=805),
            ),
        ),
        TableRow("M3", (_won(None, 20.44), Cell(reason="M3 is not trained yet"))),
    )  # fmt: skip
    others = tuple(
        TableRow(name, (Cell(value), Cell()), kind="published") for name, value in board.items()
    )
    table = Table(
        key="alpaca_eval",
        title="AlpacaEval 2.0",
        head="Model",
        columns=("Win rate %", "Mean length, characters"),
        rows=(*ours, *others),
        origin="Table 1",
        notes=(
            "The leaderboard’s rows are those of 2024-01-17, with the same judge and reference.",
            "Three replies held neither m nor M; they lower n.",
        ),
    )
    return Section("alpaca_eval", "AlpacaEval", tables=(table,))


def _won(value: float | None, published: float) -> Cell:
    reason = "M3 is not trained yet" if value is None else None
    n = None if value is None else 805
    return Cell(value, n=n, reason=reason, published=Published(published, "Table 1"))


def mt_bench() -> Section:
    """Return a table of eleven columns, one row of which failed and one of which is missing."""
    columns = ("Writing", "Roleplay", "Reasoning", "Math", "Coding", "Extraction", "STEM",
               "Humanities", "Overall", "Math, coding, reasoning", "The rest")  # fmt: skip
    paper = (9.1, 8.0, 4.6, 3.3, 4.25, 7.65, 9.4, 9.8, 7.01, 4.05, 8.79)
    measured = tuple(
        Cell(value - 1.1, low=value - 1.6, high=value - 0.4, n=20, missing=at % 3,
             published=Published(value, "Table 10"))
        for at, value in enumerate(paper)
    )  # fmt: skip
    rows = (
        TableRow("M1", (Cell(reason=WHY_FAILED),) * 11),
        TableRow("M2", measured),
        TableRow("M3", (Cell(reason="M3 is not trained yet"),) * 11),
    )
    table = Table(
        "mt_bench", "MT-Bench by category", "Model", columns, rows, origin="Tables 2 and 10"
    )
    return Section("mt_bench", "MT-Bench", tables=(table,))


def nlp() -> Section:
    """Return a table with numbers, negative differences and gaps in one column, for sorting."""
    rows = (
        TableRow("M0", (Cell(68.4, digits=1, n=1838), Cell(text="reference"))),
        TableRow("SFT", (Cell(9.0, digits=1, n=1838), Cell(-59.4, digits=1))),
        TableRow("M1", (Cell(reason=WHY_FAILED), Cell(reason=WHY_FAILED))),
        TableRow("M2", (Cell(67.3, digits=1, n=1838, rows=PIQA_ROWS), Cell(-1.1, digits=1))),
        TableRow("M3", (Cell(reason="M3 is not trained yet"),) * 2),
    )
    table = Table(
        "piqa", "PIQA and the alignment tax", "Model", ("PIQA %", "Against M0"), rows, "Table 3"
    )
    return Section("nlp", "NLP benchmarks", tables=(table,))


def strangers() -> Section:
    """Return a table whose every word is hostile."""
    rows = tuple(
        TableRow(words, (Cell(text=words, rows=HOSTILE_ROWS), Cell(reason=words)))
        for words in HOSTILE
    )
    table = Table("strangers", HOSTILE[0], HOSTILE[2], (HOSTILE[1], HOSTILE[2]), rows,
                  origin=HOSTILE[2], notes=HOSTILE)  # fmt: skip
    return Section("strangers", "Words of strangers", paragraphs=HOSTILE, tables=(table,))


def alpaca_rows() -> RowGroup:
    """Return three comparisons; the first answer's prompt became a pair."""
    prompts = ("How does a harbour work?", "Name three fish.", "Write a haiku about rain.")
    items = tuple(
        Item(
            key=f"alpaca/{at:03}",
            cells=(prompt, ("win", "loss", "unread")[at], "0.87"),
            parts=(
                ("Prompt", prompt),
                (
                    "M2’s answer",
                    "Ships come in with the tide.\n\n1. A pilot boards.\n2. Tugs help.",
                ),
                ("The reference’s answer", "A harbour is a place for ships."),
                ("The judge’s words", JUDGE_WORDS),
            ),
            links=(
                Link("The resulting pair", PAIRS, f"p{at}"),
                Link("Its PIQA item", PIQA_ROWS, "piqa/1700"),
            ),
        )
        for at, prompt in enumerate(prompts)
    )
    columns = ("Prompt", "Verdict", "Preference")
    return RowGroup(ALPACA_ROWS, "AlpacaEval comparisons of M2", columns, items, 805, ANNOTATIONS)


def pairs() -> RowGroup:
    """Return the ledger of the pairs that the links lead to."""
    items = tuple(
        Item(
            key=f"p{at}",
            cells=(f"prompt {at}", "pair", "4.67", "2.33"),
            parts=(
                ("Chosen", f"the better answer to {at}"),
                ("Rejected", f"the worse one to {at}"),
            ),
            links=(Link("Where it was compared", ALPACA_ROWS, f"alpaca/{at:03}"),),
        )
        for at in range(3)
    )
    columns = ("Prompt", "Outcome", "Chosen score", "Rejected score")
    return RowGroup(PAIRS, "Preference pairs of iteration 2", columns, items, 3, PAIRS)


def piqa_rows(kept: int = 450, total: int = 1838) -> RowGroup:
    """Return more items than a list shows at once."""
    items = tuple(
        Item(
            f"piqa/{at}", (f"goal {at}", "right" if at % 3 else "wrong"), (("Goal", f"open {at}"),)
        )
        for at in range(kept)
    )
    title = "PIQA items of M2"
    return RowGroup(PIQA_ROWS, title, ("Goal", "Outcome"), items, total, "eval/M2/nlp/piqa/items")


def hostile() -> RowGroup:
    """Return rows of hostile words in every place that shows words."""
    items = tuple(
        Item(f"hostile/{at}", (words, words), tuple((words, text) for text in HOSTILE),
             (Link(words, "no such group", "x"),))
        for at, words in enumerate(HOSTILE)
    )  # fmt: skip
    return RowGroup(HOSTILE_ROWS, HOSTILE[1], (HOSTILE[0], HOSTILE[2]), items, 7, "nowhere/made")


def artifacts() -> list[Artifact]:
    """Return manifests from the annotations back to the sources outside the run."""
    return [
        _made("iter0/base", "base model M0", ("HuggingFaceTB/SmolLM2-135M",), None),
        _made("iter1/ift", "IFT examples", ("oasst1.jsonl",), 3200),
        _made("iter1/model", "model", ("iter0/base", "iter1/ift"), None),
        _made("iter2/prompts", "self-instructed prompts", ("iter1/ift",), 256),
        _made("iter2/candidates", "candidate answers", ("iter1/model", "iter2/prompts"), 1024),
        _made("iter2/judgments", "self-judgments", ("iter1/model", "iter2/candidates"), 3072),
        _made(PAIRS, "preference pairs", ("iter2/candidates", "iter2/judgments"), 256),
        _made("iter2/model", "model", ("iter1/model", PAIRS), None),
        _made("eval/M2/alpaca_eval/answers", "answers", ("iter2/model", "alpaca_eval.json"), 805),
        _made(ANNOTATIONS, "AlpacaEval annotations", ("eval/M2/alpaca_eval/answers", "judge"), 805),
        _made("eval/M2/nlp/piqa/items", "items", ("iter2/model", "piqa.jsonl"), 1838),
    ]


def _made(address: str, title: str, inputs: tuple[str, ...], rows: int | None) -> Artifact:
    return Artifact(
        address=address,
        title=title,
        path=f"{address}.jsonl" if rows else address,
        sha256=_sha(address),
        inputs={name: _sha(name) for name in inputs},
        config={"judge": {"temperature": 0.7, "top_p": 0.9}, "note": "</script>"},
        seed=0,
        rows=rows,
        counts={"finished": rows, "failed": 3} if rows else {},
        engine="hf:SmolLM2-135M" if "answers" in address else None,
        code_version="0.1.0+3f9c2e1",
        finished_at="2026-11-20T09:12:44Z",
        seconds=73.25,
    )


def _sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()

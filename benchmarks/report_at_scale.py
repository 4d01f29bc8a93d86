"""Time and memory of a report of a paper-sized evaluation.

    python -m benchmarks.report_at_scale [--out DIR]

Writes a run of generated rows (5 models × 805 AlpacaEval comparisons, 160 MT-Bench judgments and
14,000 NLP items, six matchups of 256 prompts) and builds its report in a process of its own. The
numbers in that report are meaningless; only its size matters.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from core.config import Config
from core.intervals import share_score
from core.records import Annotation, Generation, ItemScore, Score, TurnJudgment, Verdict
from core.stages import Ref, Stage, evaluation_ref
from core.store import Built, Key, Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.records import Row

MODELS = ("M0", "sft", "M1", "M2", "M3")
# Shares of 14,000 items, roughly as the real sets relate.
ITEMS = {
    "arc_easy": 1_200, "arc_challenge": 600, "hellaswag": 3_000, "social_iqa": 1_000,
    "piqa": 1_000, "gsm8k_cot": 700, "mmlu": 4_500, "openbookqa": 500, "nq_open": 1_500,
}  # fmt: skip
GENERATED = {
    "gsm8k_cot": "exact_match,strict-match",
    "nq_open": "exact_match,remove_whitespace",
}
CATEGORIES = (
    "writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities",
)  # fmt: skip
_WORDS = (
    "the",
    "model",
    "answers",
    "a",
    "question",
    "about",
    "rivers",
    "and",
    "tides",
    "at",
    "last",
)


def make_run(folder: Path) -> None:
    """Write the generated run."""
    rng = random.Random(0)
    store = Store(folder)
    tree = {"run": folder.name, "evaluation": {"benchmarks": _BENCHMARKS}}
    config = Config.model_validate(tree)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    for model in MODELS:
        _alpaca(store, model, rng)
        _mt_bench(store, model, rng)
        _answers(store, model, rng)
        for task, n in ITEMS.items():
            _nlp(store, model, task, n, rng)
    for a, b in config.evaluation.head_to_head.matchups:
        _matchup(store, a, b, rng)


_BENCHMARKS = ["head_to_head", "alpaca_eval", "mt_bench", "nlp"]


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=words))


def _put(store: Store, ref: Ref, rows: Iterable[Row]) -> None:
    with store.begin(ref, Key({}, {}, 0)) as out:
        out.add_missing(rows)
        out.commit(lambda row: row.key, Built(facts={"judge": "made up"}))


def _share(key: str, hits: int, n: int) -> Score:
    return share_score(key, hits, n)


def _alpaca(store: Store, model: str, rng: random.Random) -> None:
    rows = [
        Annotation(
            f"p{n:03}", _text(rng, 30), _text(rng, 350), _text(rng, 250), "reference", model,
            "made up", 1.0 + rng.random(), None, _text(rng, 20),
        )
        for n in range(805)
    ]  # fmt: skip
    address = f"{model}/alpaca_eval"
    _put(store, evaluation_ref(address, Stage.ANNOTATIONS), rows)
    wins = [100 * ((row.preference or 0) - 1) for row in rows]
    rate = Score("win_rate", sum(wins) / 805, 805, 0, 40.0, 60.0, 2.0)
    length = Score("avg_length", sum(len(row.output_2) for row in rows) / 805, 805)
    _put(store, evaluation_ref(address, Stage.SCORES), [rate, length])


def _mt_bench(store: Store, model: str, rng: random.Random) -> None:
    rows = [
        TurnJudgment(
            f"{q}/t{turn}", q, CATEGORIES[(q - 81) // 10], turn, 0, model, "made up", "single-v1",
            _text(rng, 500), _text(rng, 100), float(rng.randint(1, 10)), None,
        )
        for q, turn in product(range(81, 161), (1, 2))
    ]  # fmt: skip
    address = f"{model}/mt_bench"
    _put(store, evaluation_ref(address, Stage.TURN_JUDGMENTS), rows)
    mean = sum(row.score or 0 for row in rows) / len(rows)
    _put(store, evaluation_ref(address, Stage.SCORES), [Score("overall", mean, 160, 0, 4.0, 7.0)])


def _answers(store: Store, model: str, rng: random.Random) -> None:
    rows = [
        Generation(f"t{n:03}", f"t{n:03}", _text(rng, 30), _text(rng, 250), 300, "stop")
        for n in range(256)
    ]
    _put(store, evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), rows)


def _matchup(store: Store, a: str, b: str, rng: random.Random) -> None:
    rows = []
    wins = dict.fromkeys("AB", 0)
    for n in range(256):
        key, winner = f"t{n:03}", rng.choice(("A", "B", "tie"))
        if winner in wins:
            wins[winner] += 1
        rows += [
            Verdict(f"{key}/{order}", key, a, b, winner, None, (_text(rng, 60),))  # type: ignore[arg-type]
            for order in ("ab", "ba")
        ]
    address = f"head_to_head/{a}-{b}"
    _put(store, evaluation_ref(address, Stage.VERDICTS), rows)
    ties = 256 - sum(wins.values())
    net = 100 * (wins["A"] - wins["B"]) / 256
    scores = [
        _share("win", wins["A"], 256),
        _share("tie", ties, 256),
        _share("lose", wins["B"], 256),
    ]
    _put(store, evaluation_ref(address, Stage.SCORES), [*scores, Score("net", net, 256)])


def _nlp(store: Store, model: str, task: str, n: int, rng: random.Random) -> None:
    metric = GENERATED.get(task, "acc" if task in ("social_iqa", "mmlu") else "acc_norm")
    rows = []
    for at in range(n):
        name = f"mmlu_subject_{at % 57}" if task == "mmlu" else task
        detail = {
            "choices": [_text(rng, 12) for _ in range(4)],
            "logprobs": [-rng.random() * 20 for _ in range(4)],
            "target": rng.randrange(4),
            "prediction": rng.randrange(4),
            "prediction_norm": rng.randrange(4),
        }
        if task in GENERATED:
            detail = {"text": _text(rng, 80), "target": "42", "prediction": {"strict": "41"}}
        hit = float(rng.getrandbits(1))
        rows.append(ItemScore(f"{name}/{at}", name, str(at), {metric: hit}, detail))
    address = f"{model}/nlp/{task}"
    _put(store, evaluation_ref(address, Stage.ITEMS), rows)
    score = _share(metric, int(sum(row.metrics[metric] for row in rows)), n)
    marked = Score(
        score.key, score.value, score.n, 0, score.low, score.high, detail={"headline": True}
    )
    _put(store, evaluation_ref(address, Stage.SCORES), [marked])


def measure(folder: Path, out: Path) -> tuple[float, float]:
    """Build the report by its command; return its seconds and the process's peak memory in MB."""
    began = time.monotonic()
    command = [sys.executable, "-m", "reports", "build", "--run", str(folder), "--out", str(out)]
    subprocess.run(command, check=True)  # noqa: S603 - our own command
    seconds = time.monotonic() - began
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    """Write the run, build its report, print time and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep run and report there (default: nowhere)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        make_run(out / "large")
        seconds, megabytes = measure(out / "large", out / "report")
        size = (out / "report" / "report.html").stat().st_size / 1e6
    items = len(MODELS) * (805 + 160 + sum(ITEMS.values()))
    sys.stdout.write(
        f"{items:,} rows: {seconds:.1f} s, peak {megabytes:.0f} MB, report.html {size:.1f} MB\n"
    )


if __name__ == "__main__":
    main()

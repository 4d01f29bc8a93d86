"""The parts of tools/check_gpu.py: `python -m tools.gpu_parts PART DEVICE FOLDER`.

Each writes its lines of the table to FOLDER/rows.jsonl as it finds them. No part needs data or a
network: the models have random weights, and a tokenizer trained on the judge's rubric.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from core.config import DpoSection, EngineSection, load_config
from core.records import LedgerRow, user
from core.stages import Ref, Stage, model_ref, project_root
from core.store import Store
from engines.embedded import make_tiny
from engines.engine import Continuation, Decoding, Request
from engines.models import quiet_transformers
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engines.hf.engine import HFEngine

_GB = 1e9
_SUBJECTS = ("the sea", "a clock", "two birds", "old maps", "bread", "a river", "snow", "glass")
_PROMPTS = [f"Write {n + 2} short sentences about {s}." for n, s in enumerate(_SUBJECTS)]


class Report:
    """The lines of the table, written as they are found."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "rows.jsonl"

    def add(self, what: str, found: str, wanted: str, ok: bool | None) -> None:
        """Write one line; `ok` is None for what is measured only."""
        with self._file.open("a") as file:
            file.write(json.dumps([what, found, wanted, ok]) + "\n")

    def at_most(self, what: str, found: float, most: float) -> None:
        """Write a number that must not be larger than `most`."""
        self.add(what, f"{found:.3g}", f"<= {most:g}", found <= most)


def _tiny(folder: Path) -> Path:
    make_tiny(folder / "tiny", [load_rubric("additive").template, *_PROMPTS * 4], seed=0)
    return folder / "tiny"


def _engine(model: Path, device: str, dtype: str, **more: Any) -> HFEngine:
    from engines.hf.engine import HFEngine

    section = EngineSection.model_validate({"device": device, "dtype": dtype, **more})
    return HFEngine(model, section)


# --- parity


def parity(device: str, folder: Path, report: Report) -> None:
    """Compare sampled texts and scored continuations with the CPU's."""
    model = _tiny(folder)
    there, here = _engine(model, device, "float32"), _engine(model, "cpu", "float32")
    for title, temperature in (("greedy", 0.0), ("drawn", 0.7)):
        pairs = list(zip(_texts(there, temperature), _texts(here, temperature), strict=True))
        other = sum(a != b for a, b in pairs) / len(pairs)
        report.at_most(f"fp32, {title}: share of other texts", other, 0.1)
    expected = _scores(here)
    report.at_most("fp32, scored: nats per token apart", _apart(_scores(there), expected), 1e-3)
    half = _engine(model, device, "bfloat16")
    report.at_most("bf16, scored: nats per token apart", _apart(_scores(half), expected), 0.1)
    _blocks(device, report)


def _texts(engine: HFEngine, temperature: float) -> list[str]:
    rubric = load_rubric("additive")
    asked = [*_PROMPTS, *(rubric.render(prompt, "It is well known.") for prompt in _PROMPTS)]
    requests = [Request(str(n), user(text), (0, 1)) for n, text in enumerate(asked)]
    drawn = engine.sample(requests, Decoding(temperature, 0.9, 24, 0))
    return [one.text for one in sorted(drawn, key=lambda one: (one.key, one.draw))]


def _scores(engine: HFEngine) -> list[float]:
    """Return log-probabilities per token, of choices after a question or a long header."""
    header = "\n".join(f"Question: {p}\nAnswer: A sentence about it." for p in _PROMPTS * 8)
    choices = (" Yes.", " No, never.", " Perhaps, if the weather is fine.")
    asked = [Continuation(p, c) for p in _PROMPTS for c in choices]
    asked += [
        Continuation(f"{header}\nQuestion: {p}\nAnswer:", c) for p in _PROMPTS for c in choices
    ]
    return [one.total / max(1, one.tokens) for one in engine.score(asked)]


def _apart(found: Sequence[float], expected: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True))


def _blocks(device: str, report: Report) -> None:
    """Read 8,192 tokens with 32 heads: at once, their scores would take 8.6 GB."""
    if device == "cpu":
        return
    from engines.hf.segments import attend

    random = torch.Generator(device).manual_seed(0)
    query, key = (
        torch.randn(1, heads, 8192, 128, generator=random, device=device, dtype=torch.bfloat16)
        for heads in (32, 8)
    )
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = attend(query, key, key, scale=128**-0.5, causal=True).output
    peak = (torch.cuda.max_memory_allocated() - before) / _GB
    report.at_most("attention over 8,192 tokens, 32 heads: GB", peak, 2.0)
    stock = torch.nn.functional.scaled_dot_product_attention(
        query, key, key, is_causal=True, enable_gqa=True
    )
    worst = float((found.float() - stock.float()).abs().max())
    report.at_most("the same beside torch's: largest difference", worst, 0.05)


# --- dpo

_CHOSEN = "It is long, and old, and good to look at in the evening."
_PAIRS = [
    LedgerRow(f"p{n}", prompt, "pair", (5.0, 1.0), (1, 1), "c", "r",
              f"{_CHOSEN} {prompt}", "No. " * (n + 1), 5.0, 1.0)
    for n, prompt in enumerate(_PROMPTS)
]  # fmt: skip


def dpo(device: str, folder: Path, report: Report) -> None:
    """Compare the steps of DPO in bf16 with those in fp32, and those with the CPU's."""
    model = _tiny(folder)
    half = _steps(model, folder / "bf16", device, "bf16")
    full = _steps(model, folder / "fp32", device, "fp32")
    here = _steps(model, folder / "cpu", "cpu", "fp32")
    report.at_most("fp32 and the CPU: loss", _farthest(full, here, "loss"), 1e-3)
    report.at_most("bf16 and fp32: loss", _farthest(half, full, "loss"), 0.02)
    for name in ("logps/chosen", "logps/rejected"):
        share = _farthest(half, full, name) / abs(full[0][name])
        report.at_most(f"bf16 and fp32: {name}, share", share, 0.01)
    report.at_most("bf16 and fp32: margin", _farthest(half, full, "rewards/margins"), 0.05)


def _steps(model: Path, folder: Path, device: str, precision: str) -> list[dict[str, float]]:
    from training.trainers.dpo import train_dpo
    from training.trainers.job import TrainingJob

    section = DpoSection.model_validate({
        "lr": 1e-3, "lr_min": 1e-3, "batch_size": 4, "micro_batch_size": 2, "epochs": 2,
        "dropout": 0.0, "precision": precision, "max_length": 512,
    })  # fmt: skip
    work, metrics = folder / "work", folder / "metrics.jsonl"
    work.mkdir(parents=True)
    job = TrainingJob(
        policy=model, dpo=section, seed=0, device=device, work=work, metrics=metrics, title="DPO"
    )
    train_dpo(job, _PAIRS)
    return [json.loads(line) for line in metrics.read_text().splitlines()]


def _farthest(
    found: Sequence[dict[str, float]], expected: Sequence[dict[str, float]], name: str
) -> float:
    return max(abs(a[name] - b[name]) for a, b in zip(found, expected, strict=True))


# --- launch and smoke


def launch(device: str, folder: Path, report: Report) -> None:
    """Train the SFT baseline and M1, each in a process of its own."""
    where = "one-gpu" if device == "cuda" else "ddp-cpu"
    batches = ("sft.micro_batch_size=4", "dpo.micro_batch_size=2")  # for two processes on a CPU
    store = _trained(device, folder, 1, f"launch.config={where}", "sft.epochs=2", *batches)
    done = store.exists(model_ref(1))
    report.add(f"M1 by {where!r}", "made" if done else "missing", "made", done)


def smoke(device: str, folder: Path, report: Report) -> None:
    """Run the loop to M2: sampling, judging, training and judged early stopping."""
    store = _trained(device, folder, 2, "sft.precision=bf16", "dpo.precision=bf16")
    done = store.exists(model_ref(2))
    report.add("M2", "made" if done else "missing", "made", done)
    log = (store.paths.calls).read_text().splitlines()
    report.add("rows sampled", f"{len(log)}", "> 0", bool(log))
    engine = str(store.manifest(Ref(2, Stage.CANDIDATES)).engine)
    report.add("engine of the candidates", engine[:40], f"on {device}", f"/{device}/" in engine)


def _trained(device: str, folder: Path, k: int, *settings: str) -> Store:
    config = project_root() / "configs" / "smoke.toml"
    given = [f"out_dir={folder}", f"engine.device={device}", *settings]
    words = [sys.executable, "-m", "training", "--config", str(config), "--iter", str(k)]
    for setting in given:
        words += ["--set", setting]
    done = subprocess.run(words, check=False)  # noqa: S603 - our own interpreter and module
    if done.returncode:
        sys.exit(done.returncode)  # its output, which says why, is in the part's log
    return Store(load_config(config, given).folder)


# --- speed


class Load(NamedTuple):
    """How much is sampled and scored, and the layers of the model."""

    rows: int
    new_tokens: int
    layers: int


def speed(device: str, folder: Path, report: Report) -> None:
    """Measure tokens per second, beside transformers; measured only."""
    load = Load(64, 128, 30) if device == "cuda" else Load(4, 8, 2)
    model, ours, theirs = _models(folder, device, load)
    requests = [Request(str(n), user(_PROMPTS[n % 8])) for n in range(load.rows)]
    decoding = Decoding(0.7, 0.9, load.new_tokens, 0)

    def sample() -> int:
        return sum(one.tokens for one in ours.sample(requests, decoding))

    ids = [ours.render(request.messages) for request in requests]

    def generate() -> int:
        batch = theirs.pad(ids, device)
        options = {"max_new_tokens": load.new_tokens, "min_new_tokens": load.new_tokens}
        made = model.generate(**batch, do_sample=True, temperature=0.7, top_p=0.9, **options)
        return int(made.shape[0]) * load.new_tokens

    _beside(report, "sampling, tokens/s", sample, "generate", generate)
    asked = [Continuation(f"Question: {_PROMPTS[n % 8]}", " Yes." * 64) for n in range(load.rows)]

    def score() -> int:
        return sum(one.tokens for one in ours.score(asked))

    read = [ours.render(f"Question: {_PROMPTS[n % 8]}" + " Yes." * 64) for n in range(load.rows)]

    def forward() -> int:
        with torch.inference_mode():
            logits = model(**theirs.pad(read, device)).logits
            torch.log_softmax(logits.float(), dim=-1).amax().item()
        return score_tokens

    score_tokens = score()
    _beside(report, "scoring, tokens/s", score, "forward", forward)


def _models(folder: Path, device: str, load: Load) -> tuple[Any, HFEngine, _Padding]:
    """Return a model of SmolLM2-135M's layers with random weights: transformers' and the engine."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    quiet_transformers()
    base = _tiny(folder)
    config = LlamaConfig.from_pretrained(
        base, hidden_size=576, intermediate_size=1536, num_hidden_layers=load.layers,
        num_attention_heads=9, num_key_value_heads=3, head_dim=64,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).to(device).eval()
    ours = _engine(base, device, "bfloat16", max_batch_rows=load.rows)
    return model, ours, _Padding(AutoTokenizer.from_pretrained(base, padding_side="left"))


class _Padding:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def pad(self, ids: list[list[int]], device: str) -> Any:
        """Return a batch, padded on the left."""
        return self._tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(device)


def _beside(
    report: Report, what: str, ours: Callable[[], int], name: str, theirs: Callable[[], int]
) -> None:
    rates = [_rate(ours), _rate(theirs)]
    found = f"{rates[0]:,.0f}, {name} {rates[1]:,.0f}: x {rates[0] / rates[1]:.2f}"
    report.add(what, found, "measured", None)


def _rate(work: Callable[[], int]) -> float:
    """Return tokens per second of the second call: the first one warms up."""
    work()
    began = time.perf_counter()
    tokens = work()  # ends with numbers on the CPU, so that the GPU is done
    return tokens / (time.perf_counter() - began)


def main(name: str, device: str, folder: Path) -> None:
    """Run one part."""
    parts = {"parity": parity, "dpo": dpo, "launch": launch, "smoke": smoke, "speed": speed}
    parts[name](device, folder, Report(folder))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

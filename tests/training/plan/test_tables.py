from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from core.config import Config, PlanSection, load_config
from core.stages import Ref, Stage
from tests.conftest import ROOT
from training.plan.plan import plan
from training.plan.tables import cost_tables, lines
from training.plan.work import mean_lengths

if TYPE_CHECKING:
    from pathlib import Path

PAPER = ROOT / "configs" / "paper-llama2-70b.toml"


def printed(config: Config, k: int = 3, width: int = 100) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        for part in cost_tables(config, k, plan(config, k)):
            console.print(part)
    return captured.get()


def row(text: str, name: str) -> list[str]:
    found = [line for line in text.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in found[0].split("│")[2:-1]]


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load_config(PAPER, [f"out_dir={tmp_path_factory.mktemp('runs')}"])


def test_the_disk_of_the_papers_training_by_hand(paper: Config) -> None:
    # 68.98e9 weights. M1: 4,830 rows are 302 steps: 2 checkpoints of 12 bytes a weight, and 4.
    assert row(printed(paper), "M1") == ["1655.4", "0.0", "275.9", "1931.3"]
    # M2: up to 3,964 pairs, 248 steps: 2 of 12 + 4 bytes (the judge's), the best, the model.
    assert row(printed(paper), "M2") == ["2207.3", "275.9", "275.9", "2759.1"]
    # M3: up to 6,942 pairs, 434 steps: 3 of them.
    assert row(printed(paper), "M3") == ["3310.9", "275.9", "275.9", "3862.7"]
    assert "The SFT baseline and M1 to M3 keep 1103.6 GB." in printed(paper)


def test_candidates_of_the_paper_by_hand(paper: Config) -> None:
    # 3,964 prompts of 36 tokens are read, 15,856 answers of 388 are written: 6.152 M tokens.
    # At 250 a second: 6.84 GPU hours, and 0.01 to read; on 16 GPUs 0.43 hours; x 16 x 3 USD.
    text = printed(paper)
    assert row(text, "iter2/candidates") == ["0.14", "6.15", "", "", "6.8", "0.43", "21"]
    # Iteration 3 has 6,942 prompts: 10.774 M tokens, 11.97 hours, and 0.02 to read.
    assert row(text, "iter3/candidates") == ["0.25", "10.77", "", "", "12.0", "0.75", "36"]


def test_the_training_of_the_papers_m1_by_hand(paper: Config) -> None:
    # 3,200 x (36 + 282) and 1,630 x (437 + 36 + 217 + 140) tokens: 2.37 M. Arithmetic: 8 x 68.98e9
    # x 2.3705e6 / (16 x 989e12 x 0.3) = 275 s: 0.08 hours, 1.2 GPU hours, x 3 USD.
    assert row(printed(paper), "iter1/model") == ["", "", "", "2.37", "1.2", "0.08", "4"]


def test_the_sum_is_of_the_lines_and_the_most_is_more(paper: Config) -> None:
    found = lines(paper, plan(paper, 3), mean_lengths)
    hours = sum(line.cost.gpu_hours for line in found if line.cost)
    text = printed(paper)
    assert row(text, "total")[4] == f"{hours:.1f}"
    assert float(row(text, "at most (longest replies)")[4]) > hours


def test_each_kind_of_work_has_a_verdict(paper: Config) -> None:
    text = printed(paper)
    assert "SFT baseline, M1: fits: needs 82.6 of 126.9 GB on each GPU." in text
    assert "DPO: M2, M3: fits: needs 88.9 of 126.9 GB on each GPU." in text
    assert "sampling: the run's models: fits: needs 17.3 of 126.9 GB" in text


def test_every_assumption_is_printed_with_its_value(paper: Config) -> None:
    text = printed(paper)
    for name in PlanSection.model_fields.keys() - {"link_gb_per_s"}:
        value = getattr(paper.plan, name)
        assert row(text, name)[0] == f"{value:g}"


def test_the_judges_cost_and_its_price_are_printed(paper: Config) -> None:
    text = printed(paper)
    # 3,072 requests; 3.72 M tokens in and 0.31 M out at 10 and 30 USD per million: 46 USD.
    assert row(text, "head_to_head") == ["3,072", "3.72", "13.92", "0.31", "46", "148"]
    assert "10 USD in, 30 USD out per million tokens (from memory" in text
    assert "`srlm-eval run --dry-run` estimates the evaluation" in text


def test_an_unpriced_judge_is_not_free(paper: Config) -> None:
    judge = paper.evaluation.judge.model_copy(update={"model": "unheard-of"})
    evaluation = paper.evaluation.model_copy(update={"judge": judge})
    text = printed(paper.model_copy(update={"evaluation": evaluation}))
    assert row(text, "head_to_head")[-2:] == ["?", "?"]
    assert "Price: unknown; add the model to judges/backends/prices.toml." in text


def test_fewer_eft_examples_than_asked_for_are_expected_aloud(paper: Config) -> None:
    # 570 training prompts x 2.85 replies x (1 - 0.899^16 = 0.8180): 1,329 of 1,630.
    text = " ".join(printed(paper).split())
    assert "EFT by construction yields about 1,329 examples at 16 draws per reply" in text
    assert "fewer than eft.selection.max_examples = 1,630" in text
    selection = paper.eft.selection.model_copy(update={"max_examples": 1300})
    few = paper.model_copy(update={"eft": paper.eft.model_copy(update={"selection": selection})})
    assert "EFT by construction yields" not in printed(few)


def test_unknown_costs_are_question_marks_with_a_reason(paper: Config) -> None:
    unstated = paper.plan.model_copy(update={"sampling_tokens_per_s": None})
    text = " ".join(printed(paper.model_copy(update={"plan": unstated})).split())
    assert "iter2/judgments" in text
    assert "plan.sampling_tokens_per_s is not stated; not in the total." in text
    found = lines(paper.model_copy(update={"plan": unstated}), plan(paper, 3), mean_lengths)
    costs = {str(line.ref): line.cost for line in found}
    assert costs["iter2/candidates"] is None
    assert costs["iter1/sft"]


def test_stages_that_are_done_cost_nothing(paper: Config) -> None:
    rows = [
        r._replace(state="done") if r.ref == Ref(2, Stage.JUDGMENTS) else r for r in plan(paper, 2)
    ]
    names = {str(line.ref) for line in lines(paper, rows, mean_lengths)}
    assert "iter2/judgments" not in names
    assert "iter2/candidates" in names


def test_a_run_without_gpus_gets_no_estimate(tmp_path: Path) -> None:
    quickstart = load_config(ROOT / "configs" / "quickstart.toml", [f"out_dir={tmp_path}"])
    text = printed(quickstart)
    assert "Set plan.gpus to estimate GPU memory" in " ".join(text.split())
    assert "The evaluation's judge, M1, is free: it runs on your own machines." in text
    assert "GPU h" not in text


def test_the_tables_hold_at_eighty_columns(paper: Config) -> None:
    text = printed(paper, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text  # no number is cut


def test_a_dry_run_loads_no_model_library(tmp_path: Path) -> None:
    heavy = ("torch", "transformers", "accelerate", "vllm", "ray", "huggingface_hub")
    given = ["--config", str(PAPER), "--dry-run"]
    for setting in (
        f"out_dir={tmp_path}", "prompts.generator=base", "dpo.early_stopping.enabled=false"
    ):  # fmt: skip
        given += ["--set", setting]
    code = (
        f"import sys; from training.__main__ import main; sys.argv = ['srlm-train', *{given}]\n"
        "try: main()\n"
        f"finally: print('loaded:', [m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "loaded: []" in done.stdout
    assert "GPU memory" in done.stdout
    assert not list(tmp_path.iterdir())  # and writes nothing


def test_an_external_judge_of_candidates_is_paid_for_in_the_judges_table(tmp_path: Path) -> None:
    # M2 and M3: 2 · 10 prompts · 4 answers · 3 draws = 240 requests of 400 + 36 + 388 tokens (at
    # most 400 + 36 + 1,024), 256 out: 0.198 (0.350) and 0.061 million, at 10 and 30 USD.
    config = Config.model_validate({
        "out_dir": str(tmp_path),
        "prompts": {"source": "verifiable", "count": 10},
        "improvement": {"judge": "external"},
        "dpo": {"early_stopping": {"enabled": False}},
        "evaluation": {"benchmarks": [], "judge": {"model": "gpt-x", "price_usd": [10, 30]}},
    })  # fmt: skip
    assert row(printed(config), "candidates") == ["240", "0.20", "0.35", "0.06", "4", "5"]

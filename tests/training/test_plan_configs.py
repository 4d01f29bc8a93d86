from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment

from core.config import Config, load_config
from core.stages import SPECS
from evaluation.nlp.data import TASKS
from tests.conftest import ROOT
from training.plan.fit import Fit, fits

PAPER, EIGHT = (ROOT / "configs" / name for name in ("paper-llama2-70b.toml", "llama3-8b.toml"))

# Yuan et al. (arXiv 2401.10020 v3), each value with where it stands there.
STATED = {
    "iterations": 3,  # 2.4: M1, M2, M3
    "model.base": "meta-llama/Llama-2-70b-hf",  # 3.1: pretrained Llama 2 70B
    "ift.source": "OpenAssistant/oasst1",  # 3.1.1
    "ift.language": "en",  # 3.1.1
    "ift.max_examples": 3200,  # 3.1.1
    "eft.source.path": "OpenAssistant/oasst1",  # 3.1.1
    "eft.selection.source": "constructed",  # 3.1.1: written by the SFT baseline
    "eft.selection.agreement": "strict",  # 3.1.1: in agreement with the human ranking
    "eft.selection.balance_scores": True,  # 3.1.1: part of the most common score discarded
    "eft.selection.max_examples": 1630,  # 3.1.1
    "m1.use_eft": True,  # 2.4: IFT+EFT
    "sft.lr": 5.5e-6,  # 3.1.3
    "sft.lr_min": 1.1e-6,  # 3.1.3
    "sft.batch_size": 16,  # 3.1.3
    "sft.dropout": 0.1,  # 3.1.3
    "prompts.seed_examples": 6,  # 3.1.3: 8-shot, 6 from IFT
    "prompts.generated_examples": 2,  # 3.1.3: and 2 generated
    "prompts.temperature": 0.6,  # 3.1.3
    "prompts.top_p": 0.9,  # 3.1.3
    "prompts.rouge_threshold": 0.7,  # Self-Instruct's filters
    "prompts.min_words": 4,  # 3 words or fewer are dropped
    "prompts.max_words": 150,  # more are dropped
    "candidates.n": 4,  # 3.1.3
    "candidates.temperature": 0.7,  # 3.1.3
    "candidates.top_p": 0.9,  # 3.1.3
    "judge.rubric": "additive",  # figure 2
    "judge.draws": 3,  # 3.1.3: averaged
    "judge.temperature": 0.7,  # 3.1.3: same decoding
    "judge.top_p": 0.9,  # 3.1.3
    "pairs.choice": "best_worst",  # 2.3: highest against lowest
    "pairs.min_margin": 0.0,  # 2.3: dropped if equal
    "improvement.judge": "self",  # 2.3
    "improvement.method": "dpo",  # 2.3
    "dpo.lr": 1e-6,  # 3.1.3
    "dpo.lr_min": 1e-7,  # 3.1.3
    "dpo.batch_size": 16,  # 3.1.3
    "dpo.dropout": 0.1,  # 3.1.3
    "dpo.beta": 0.1,  # 3.1.3
    "dpo.reference": "previous",  # 2.4, as far as it says
    "dpo.checkpoint_steps": 200,  # 3.1.3
    "dpo.early_stopping.enabled": True,  # 3.1.3
    "dpo.early_stopping.every_steps": 200,  # 3.1.3
    "dpo.early_stopping.max_prompts": 253,  # 3.1.3
    "dpo.early_stopping.prompt": "alpaca_eval",  # 3.1.3
    "evaluation.models": ("M0", "sft", "M1", "M2", "M3"),  # tables 2 to 4
    "evaluation.judge.model": "gpt-4-1106-preview",  # 3.1.2: GPT-4, AlpacaEval 2's judge
    "evaluation.head_to_head.limit": 256,  # 3.1.2
    "evaluation.head_to_head.prompt": "alpaca_eval",  # 3.1.2
    "evaluation.head_to_head.matchups": (  # figure 3
        ("M1", "sft"), ("M2", "sft"), ("M3", "sft"), ("M2", "M1"), ("M3", "M2"), ("M3", "M1"),
    ),
    "evaluation.alpaca_eval.prompts": "hub",  # table 1
    "evaluation.alpaca_eval.limit": None,  # all 805
    "evaluation.alpaca_eval.annotator": "weighted_alpaca_eval_gpt4_turbo",  # table 1
    "evaluation.alpaca_eval.tags": True,  # figures 4 and 11
    "evaluation.mt_bench.limit": None,  # table 2: all 80
    "evaluation.nlp.limit": None,  # tables 3 and 9
    "evaluation.agreement.limit": None,  # table 4
}  # fmt: skip

# Table 9's tasks with the shots of the Llama 2 paper's row.
SHOTS = {
    "arc_easy": 0, "arc_challenge": 0, "hellaswag": 0, "social_iqa": 0, "piqa": 0, "gsm8k_cot": 8,
    "mmlu": 5, "openbookqa": 0, "nq_open": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def paper() -> Config:
    return load_config(PAPER)


@pytest.mark.parametrize("name", STATED)
def test_the_papers_configuration_says_what_the_paper_says(paper: Config, name: str) -> None:
    assert paper.section(name) == STATED[name]


def test_the_papers_benchmarks_are_all_there_with_its_shots(paper: Config) -> None:
    wanted = {"head_to_head", "alpaca_eval", "mt_bench", "nlp", "agreement"}
    assert wanted <= set(paper.evaluation.benchmarks)
    assert {task: TASKS[task].shots for task in paper.evaluation.nlp.tasks} == SHOTS


def test_there_are_prompts_for_the_pairs_that_the_paper_had(paper: Config) -> None:
    # AIFT(M1) and AIFT(M2), 3.2: a prompt gives one pair at most.
    assert [paper.at(k).prompts.count for k in (2, 3)] == [3964, 6942]


def test_the_judges_of_the_paper_are_none_of_its_models(paper: Config) -> None:
    # 3.1.3: a fixed chat model writes the prompts, an external judge compares checkpoints.
    assert paper.prompts.generator == "models/Llama-2-70b-chat-hf"
    assert paper.dpo.early_stopping.judge == "external"


@pytest.mark.parametrize("path", [PAPER, EIGHT], ids=lambda path: path.stem)
def test_the_large_configurations_fit_their_machines(path: Path) -> None:
    settings = load_config(path)
    for found in fits(settings, settings.iterations).values():
        assert isinstance(found, Fit)
        assert found.fits, found.verdict


def test_plan_settings_are_in_no_artifact_key() -> None:
    read = {section.partition(".")[0] for spec in SPECS.values() for section in spec.sections}
    assert "plan" not in read
    assert "judge" in read


@pytest.mark.parametrize("path", [PAPER, EIGHT], ids=lambda path: path.stem)
def test_their_chat_template_exists(path: Path) -> None:
    template = load_config(path).model.chat_template
    assert template is not None
    assert (ROOT / template).is_file()


def rendered(*messages: tuple[str, str], ask: bool) -> str:
    text = (ROOT / "configs" / "base_model.jinja").read_text()
    # The settings that transformers renders chat templates with.
    template = Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(text).render(
        messages=[{"role": role, "content": content} for role, content in messages],
        bos_token="<s>",
        eos_token="</s>",
        add_generation_prompt=ask,
    )


def test_the_template_asks_and_ends_the_assistants_turn_with_the_models_own_token() -> None:
    question, answer = ("user", "Why?"), ("assistant", "Because.")
    asked = rendered(question, ask=True)
    assert asked == "<s>### User\nWhy?\n\n### Assistant\n"
    # Training appends the answer and the token to exactly what sampling is asked with.
    assert rendered(question, answer, ask=False).startswith(asked + "Because.</s>")


def test_the_template_holds_a_second_turn() -> None:
    talk = (("user", "Why?"), ("assistant", "Because."), ("user", "Really?"))
    assert rendered(*talk, ask=True) == (
        "<s>### User\nWhy?\n\n### Assistant\nBecause.</s>\n\n### User\nReally?\n\n### Assistant\n"
    )

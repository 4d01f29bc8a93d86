"""Bugs that others have shipped, planted one at a time in a copy: a test must fail each time."""

from __future__ import annotations

import compileall
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

import engines  # noqa: F401 - what it sets in the environment goes to the waiting process
from tests.conftest import ROOT
from tests.planted_in_decoding import DECODING_PLANTS
from tests.planted_in_engines import ENGINE_PLANTS
from tests.planted_in_evaluation import EVALUATION_PLANTS
from tests.planted_in_explorer import EXPLORER_PLANTS
from tests.planted_in_figures import FIGURE_PLANTS
from tests.planted_in_gate import GATE_PLANTS
from tests.planted_in_human import HUMAN_PLANTS
from tests.planted_in_judges import JUDGE_PLANTS
from tests.planted_in_plan import PLAN_PLANTS
from tests.planted_in_ray import RAY_PLANTS
from tests.planted_in_reports import REPORT_PLANTS
from tests.planted_in_scale import SCALE_PLANTS
from tests.planted_in_tables import TABLES_PLANTS
from tests.planted_in_training_at_scale import TRAINING_AT_SCALE_PLANTS
from tests.planted_in_votes import VOTES_PLANTS
from tests.planting import Plant
from tests.warm_pytest import WarmPytest

pytestmark = pytest.mark.slow

_COPIED = (
    "core",
    "engines",
    "evaluation",
    "judges",
    "reports",
    "training",
    "web",
    "tests",
    "configs",
    "data",
    "pyproject.toml",
)


TRAINING_PLANTS = [
    Plant(
        "the first score of a reply counts, not the last",
        "judges/replies.py",
        "last = found[-1]",
        "last = found[0]",
        "judges/test_replies.py",
    ),
    Plant(
        "an unparsed reply becomes a score of 0",
        "judges/replies.py",
        'return Score(None, "cut_off" if cut else "no_score")',
        "return Score(0.0, None)",
        "judges/test_replies.py",
    ),
    Plant(
        "scores outside the rubric's range are accepted",
        "judges/replies.py",
        "if not low <= value <= high:",
        "if False:",
        "judges/test_replies.py",
    ),
    Plant(
        "a prompt too long for the judge is read as if answered",
        "judges/pointwise.py",
        'if sampled.finish == "too_long":',
        "if False:",
        "judges/test_pointwise.py",
    ),
    Plant(
        "unreadable draws count as zero in the mean",
        "judges/pointwise.py",
        "math.fsum(found) / len(found)",
        "math.fsum(found) / count",
        "judges/test_pointwise.py",
    ),
    Plant(
        "orders that disagree are no tie",
        "judges/pairwise.py",
        'agreed = ab.winner if ab.winner == ba.winner else "tie"',
        "agreed = ab.winner",
        "judges/test_pairwise.py",
    ),
    Plant(
        "an unhealthy judge does not stop the run",
        "judges/health.py",
        'if found and limits.action == "stop":',
        "if False:",
        "judges/test_health.py",
    ),
    Plant(
        "tied candidates make a pair",
        "training/data/pairs.py",
        "<= section.min_margin + _ROUNDING",
        "< section.min_margin",
        "training/data/test_pairs.py",
    ),
    Plant(
        "best and worst are exchanged",
        "training/data/pairs.py",
        "return Choice(best, worst)",
        "return Choice(worst, best)",
        "training/data/test_pairs.py",
    ),
    Plant(
        "an unscored candidate counts as 0",
        "training/data/pairs.py",
        "Scored(c, m.mean) for c, m in zip(ordered, found, strict=True) if m.mean is not None",
        "Scored(c, m.mean or 0.0) for c, m in zip(ordered, found, strict=True)",
        "training/data/test_pairs.py",
    ),
    Plant(
        "new tasks are read from prompt and completion",
        "training/data/prompts.py",
        "            call.text, first_number",
        '            "\\n".join(call.examples) + "\\n" + call.text, first_number',
        "training/data/test_prompts.py",
    ),
    Plant(
        "the few-shot template grows with every generated prompt",
        "training/data/prompts.py",
        "own = draw.sample(list(generated), min(section.generated_examples, len(generated)))",
        "own = list(generated)",
        "training/data/test_prompts.py",
    ),
    Plant(
        "kept prompts do not join the pool",
        "training/data/prompts.py",
        "                self._pool.add(task.text)\n",
        "",
        "training/data/test_prompts.py",
    ),
    Plant(
        "SFT loss falls on the prompt too",
        "training/trainers/encoding.py",
        "[IGNORED] * len(self.prompt_ids) + self.response_ids",
        "self.prompt_ids + self.response_ids",
        "training/trainers/test_encoding.py",
    ),
    Plant(
        "SFT loss falls on the prompt only",
        "training/trainers/encoding.py",
        "[IGNORED] * len(self.prompt_ids) + self.response_ids",
        "self.prompt_ids + [IGNORED] * len(self.response_ids)",
        "training/trainers/test_encoding.py",
    ),
    Plant(
        "the end of turn gets no loss",
        "training/trainers/encoding.py",
        "response_ids = [*response_ids, self.end_of_turn]",
        "response_ids = [*response_ids]",
        "training/trainers/test_encoding.py",
    ),
    Plant(
        "pad = eos is masked out of the labels",
        "training/trainers/encoding.py",
        "[IGNORED] * len(self.prompt_ids) + self.response_ids",
        "[IGNORED] * len(self.prompt_ids) + [*self.response_ids[:-1], IGNORED]",
        "training/trainers/test_encoding.py",
    ),
    Plant(
        "the rendered prompt is tokenised again with special tokens",
        "training/trainers/encoding.py",
        "        response_ids: list[int]",
        "        prompt_ids = self._tokenizer(self._tokenizer.decode(prompt_ids)).input_ids\n"
        "        response_ids: list[int]",
        "training/trainers/test_encoding.py",
    ),
    Plant(
        "truncation may remove the whole response",
        "training/trainers/encoding.py",
        "        if room < 1 or not response_ids:\n            return None\n",
        "        room = max(room, 0)\n",
        "training/trainers/test_encoding.py",
    ),
    Plant(
        "the pad token's embedding, which is the end of turn's, never learns",
        "training/trainers/trl_loop.py",
        "    model.get_input_embeddings().padding_idx = None\n",
        "",
        "training/trainers/test_sft.py::test_the_pad_tokens_embedding_learns_because_it_may_be_the_end_of_turn",
    ),
    Plant(
        "a half-written checkpoint is resumed from",
        "training/trainers/trl_loop.py",
        "        if (folder / _COMPLETE).is_file():",
        "        if folder.is_dir():",
        "training/trainers/test_sft.py::test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_weights",
    ),
    Plant(
        "DPO prefers the rejected answer (the sign)",
        "training/trainers/dpo.py",
        "        chosen, rejected = lengths.chunk(2)\n",
        "        chosen, rejected = lengths.chunk(2)\n        self.beta = -abs(self.beta)\n",
        "training/trainers/test_dpo.py",
    ),
    Plant(
        "DPO's chosen and rejected answers are exchanged",
        "training/trainers/dpo.py",
        '"chosen_ids": chosen.response_ids',
        '"chosen_ids": rejected.response_ids',
        "training/trainers/test_dpo.py",
    ),
    Plant(
        "DPO's log-probabilities are off by one place (the shift)",
        "training/trainers/dpo.py",
        "        chosen, rejected = lengths.chunk(2)\n",
        "        chosen, rejected = lengths.chunk(2)\n"
        '        inputs["completion_mask"] = inputs["completion_mask"].roll(1, dims=1)\n',
        "training/trainers/test_dpo.py",
    ),
    Plant(
        "DPO's log-probabilities include the prompt (the mask)",
        "training/trainers/dpo.py",
        "        chosen, rejected = lengths.chunk(2)\n",
        "        chosen, rejected = lengths.chunk(2)\n"
        '        inputs["completion_mask"] = inputs["attention_mask"]\n',
        "training/trainers/test_dpo.py",
    ),
    Plant(
        "an answer cut by the token limit learns to stop there",
        "training/trainers/dpo.py",
        "ended=pair.chosen_ended",
        "ended=True",
        "training/trainers/test_dpo.py::test_an_answer_cut_by_the_token_limit_does_not_learn_to_stop_there",
    ),
    Plant(
        "DPO trains without the configured dropout",
        "training/trainers/dpo.py",
        "trl_loop.prepare(model, dropout=section.dropout)",
        "trl_loop.prepare(model, dropout=0.0)",
        "training/trainers/test_dpo.py::test_dropout_stays_on_for_dpo_but_not_for_the_reference",
    ),
    Plant(
        "TRL switches dropout off",
        "training/trainers/dpo.py",
        "disable_dropout=False",
        "disable_dropout=True",
        "training/trainers/test_dpo.py::test_trl_does_not_switch_off_dropout_modules",
    ),
    Plant(
        "the reference is another model than the one that made the data",
        "training/models.py",
        "reference = run.named_model(section.reference, k)",
        "reference = model_ref(0)",
        "training/test_models.py",
    ),
    Plant(
        "the cache key is the model's name",
        "engines/hf/hf.py",
        "digest = weights_sha256 or",
        "digest = folder.name or",
        "engines/hf/test_hf.py::test_the_fingerprint_changes_with_a_weight_byte_and_with_the_dtype",
    ),
]


PLANTS = [
    *TRAINING_PLANTS,
    *JUDGE_PLANTS,
    *DECODING_PLANTS,
    *ENGINE_PLANTS,
    *EVALUATION_PLANTS,
    *REPORT_PLANTS,
    *TABLES_PLANTS,
    *FIGURE_PLANTS,
    *GATE_PLANTS,
    *SCALE_PLANTS,
    *PLAN_PLANTS,
    *TRAINING_AT_SCALE_PLANTS,
    *RAY_PLANTS,
    *VOTES_PLANTS,
    *EXPLORER_PLANTS,
    *HUMAN_PLANTS,
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to plant bugs in."""
    folder = tmp_path_factory.mktemp("planted")
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "test_planted_bugs.py")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    # Compiled once for all plants; Python compares hashes, so that a planted file is read anew.
    compileall.compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return folder


@pytest.fixture(scope="module")
def warm(copy: Path) -> Iterator[WarmPytest]:
    """A process that runs pytest in the copy without importing torch anew each time."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE_", "PYTEST_"))
    }
    environment |= {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SRLM_SHARED": os.environ.get("SRLM_SHARED", str(ROOT.parent / "shared")),
    }
    process = WarmPytest(environment)
    yield process
    process.close()


def run_tests(warm: WarmPytest, copy: Path, selected: str) -> tuple[int, str]:
    return warm.run(copy, "-x", "-q", "-p", "no:cacheprovider", f"tests/{selected}")


@pytest.mark.parametrize(
    "selected",
    ["engines/hf/test_shared_states.py", "judges/test_replies.py", "training/data/test_pairs.py"],
)
def test_without_a_planted_bug_the_tests_pass(warm: WarmPytest, copy: Path, selected: str) -> None:
    code, printed = run_tests(warm, copy, selected)
    assert code == 0, printed[-2000:]
    assert " passed" in printed


@pytest.mark.parametrize("plant", PLANTS, ids=[plant.bug for plant in PLANTS])
def test_a_planted_bug_makes_a_test_fail(plant: Plant, warm: WarmPytest, copy: Path) -> None:
    path = copy / plant.file
    right = path.read_text()
    assert right.count(plant.right) == 1, f"{plant.file} no longer holds {plant.right!r} once"
    path.write_text(right.replace(plant.right, plant.wrong))
    try:
        code, printed = run_tests(warm, copy, plant.noticed_by)
    finally:
        path.write_text(right)
    if code == 0 and " skipped" in printed and " passed" not in printed:
        pytest.skip(f"{plant.noticed_by} was skipped: it needs the shared data")
    # 1: tests ran and one failed. Anything else (0: not noticed; 2: did not even import) is wrong.
    assert code == 1, printed[-2000:]
    assert " failed" in printed

"""Thinking models through an engine: what their templates open, their variables, their budgets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.config import Config, EngineSection
from core.making import artifact_key
from core.records import user
from core.stages import Ref, Stage
from core.store import Store
from engines.engine import Decoding, Request, sample_answers
from engines.hf.engine import HFEngine
from engines.models import load_tokenizer
from engines.pool import EnginePool

FP32 = EngineSection(device="cpu", dtype="float32")
WARM = Decoding(temperature=1.0, top_p=0.9, max_new_tokens=12, seed=3)
ASKED = [Request("a", user("Hi"), (0, 1, 2, 3))]
SILENT = {"enable_thinking": False}
# As R1's and QwQ's: the prompt ends with an open thought; here, as Qwen 3's, unless told otherwise.
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: "
    "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def thinker(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "thinker"
    shutil.copytree(tiny, folder)
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def test_a_draw_begins_with_the_thought_that_its_prompt_opened(thinker: Path) -> None:
    engine = HFEngine(thinker, FP32)
    assert all(s.text.startswith("<think>\n") for s in engine.sample(ASKED, WARM))
    # The tiny model ends no thought: there is no answer, whatever it wrote.
    answers = list(sample_answers(engine, ASKED, WARM))
    assert len(answers) == 4
    assert {(a.text, a.finish) for a in answers} <= {("", "cut_off"), ("", "stop")}


def test_variables_reach_the_template_and_the_fingerprint(thinker: Path) -> None:
    plain, silent = HFEngine(thinker, FP32), HFEngine(thinker, FP32, chat_template_kwargs=SILENT)
    assert not any(s.text.startswith("<think>") for s in silent.sample(ASKED, WARM))
    assert silent.fingerprint == f'{plain.fingerprint}/{{"enable_thinking": false}}'


def test_a_thought_has_tokens_besides_those_of_the_answer(thinker: Path) -> None:
    engine = HFEngine(thinker, FP32, max_thinking_tokens=20)
    assert engine.fingerprint.endswith("/thinking 20")
    found = list(engine.sample(ASKED, WARM))
    # Thoughts that do not end have 20 tokens and not the answer's 12 besides.
    assert max(s.tokens for s in found) == 20
    raw = list(engine.sample([Request("r", "The quick brown", (0, 1, 2, 3))], WARM))
    assert max(s.tokens for s in raw) <= 12


def test_an_answer_without_a_thought_has_no_more_tokens_than_before(thinker: Path) -> None:
    plain = HFEngine(thinker, FP32, chat_template_kwargs=SILENT)
    more = HFEngine(thinker, FP32, chat_template_kwargs=SILENT, max_thinking_tokens=20)
    key = "key", "draw"
    expected, found = ([*engine.sample(ASKED, WARM)] for engine in (plain, more))
    by = [{tuple(getattr(s, k) for k in key): s for s in draws} for draws in (expected, found)]
    assert by[0] == by[1]


def test_a_judge_with_variables_of_its_own_is_an_engine_of_its_own(
    thinker: Path, tmp_path: Path
) -> None:
    config = Config(out_dir=str(tmp_path), engine=FP32)
    pool, stage = EnginePool(config, Store(config.folder)), Ref(2, Stage.CANDIDATES)
    model = pool.folder(thinker, stage)
    judge = pool.folder(thinker, stage, variables=SILENT)
    assert model.fingerprint != judge.fingerprint
    assert pool.folder(thinker, stage).fingerprint == model.fingerprint
    pool.forget(thinker)
    assert pool.folder(thinker, stage, variables=SILENT).fingerprint == judge.fingerprint
    pool.clear()


@pytest.mark.parametrize("setting", [{"chat_template_kwargs": SILENT}, {"max_thinking_tokens": 64}])
def test_how_a_model_thinks_is_part_of_every_key(
    tmp_path: Path, setting: dict[str, object]
) -> None:
    store = Store(tmp_path)
    changed = Config.model_validate({"model": setting})
    keys = [artifact_key(store, c, [], ("candidates",), {}) for c in (Config(), changed)]
    assert [sorted(key.config) for key in keys] == [
        ["candidates"],
        ["candidates", f"model.{next(iter(setting))}"],
    ]

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from core.config import EngineSection
from core.errors import ModelError
from core.records import Message, user
from engines.reward_model import RewardModel, is_reward_model
from tests.engines.rewarding import make_reward_model

SECTION = EngineSection(device="cpu", dtype="float32", max_batch_rows=4)


def conversation(question: str, answer: str) -> list[Message]:
    return [*user(question), {"role": "assistant", "content": answer}]


TALKS = [conversation("What is rain?", "water " * n) for n in (1, 40, 3, 17, 2, 29)]


def alone(folder: Path, talk: list[Message]) -> float:
    """The score by transformers alone: one conversation, no padding, its own template."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=False)
    with torch.inference_mode():
        return float(model(input_ids=ids).logits[0, 0])


def scores(folder: Path, section: EngineSection = SECTION) -> dict[int, float | None]:
    return {place: score for place, score, _ in RewardModel(folder, section).score(TALKS)}


@pytest.mark.parametrize("pad", [0, None, -1])
def test_a_batch_has_the_scores_of_single_conversations(
    tiny: Path, tmp_path: Path, pad: int | None
) -> None:
    # Without a pad token, and where the end of turn is the pad token (-1), as in many models.
    end = AutoTokenizer.from_pretrained(tiny).eos_token_id
    folder = make_reward_model(tiny, tmp_path / "rm", pad=end if pad == -1 else pad)
    found = scores(folder)
    assert sorted(found) == [*range(len(TALKS))]
    assert len({round(score or 0, 4) for score in found.values()}) == len(TALKS)
    for place, talk in enumerate(TALKS):
        assert found[place] == pytest.approx(alone(folder, talk), abs=1e-5)


def test_batches_of_one_row_and_of_few_tokens_change_nothing(tiny: Path, tmp_path: Path) -> None:
    folder = make_reward_model(tiny, tmp_path / "rm")
    whole = scores(folder)
    for changes in ({"max_batch_rows": 1}, {"max_batch_tokens": 60}):
        assert scores(folder, SECTION.model_copy(update=changes)) == pytest.approx(whole, abs=1e-5)


def test_a_conversation_beyond_the_window_has_no_score(tiny: Path, tmp_path: Path) -> None:
    folder = make_reward_model(tiny, tmp_path / "rm", max_position_embeddings=64)
    found = list(RewardModel(folder, SECTION).score(TALKS))
    assert [one.score for one in found if one.tokens > 64] == [None] * 3 or all(
        (one.score is None) == (one.tokens > 64) for one in found
    )
    assert any(one.score is None for one in found) and any(one.score is not None for one in found)


def test_a_classifier_is_told_from_a_language_model(tiny: Path, tmp_path: Path) -> None:
    assert is_reward_model(make_reward_model(tiny, tmp_path / "rm"))
    assert not is_reward_model(tiny)
    assert not is_reward_model(tmp_path / "nothing")
    (tmp_path / "rm" / "config.json").write_text("[1")
    assert not is_reward_model(tmp_path / "rm")


def test_folders_that_give_no_trained_scalar_are_refused(tiny: Path, tmp_path: Path) -> None:
    two = make_reward_model(tiny, tmp_path / "two", num_labels=2)
    with pytest.raises(ModelError, match="two: gives 2 labels, a reward model gives one scalar"):
        RewardModel(two, SECTION)
    # A language model whose config.json claims to be a classifier: its score has no weights.
    claims = tmp_path / "claims"
    claims.mkdir()
    for file in tiny.iterdir():
        (claims / file.name).write_bytes(file.read_bytes())
    config = json.loads((claims / "config.json").read_text())
    config |= {"architectures": ["LlamaForSequenceClassification"], "num_labels": 1}
    config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (claims / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"the weights lack score\.weight: .* would be random"):
        RewardModel(claims, SECTION)


def test_the_fingerprint_names_weights_and_arithmetic(tiny: Path, tmp_path: Path) -> None:
    one, other = (
        make_reward_model(tiny, tmp_path / name, pad=pad) for name, pad in (("a", 0), ("b", 1))
    )
    first = RewardModel(one, SECTION).fingerprint
    assert first.startswith("transformers/float32/cpu/reward/")
    assert first != RewardModel(other, SECTION).fingerprint
    assert not math.isnan(scores(one)[0] or 0.0)

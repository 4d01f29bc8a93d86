"""Every causal-LM family of the installed transformers: as its own code computes it, or refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from core.errors import ModelError
from engines.engine import Decoding, Request
from engines.hf.attention import can_share
from engines.hf.decoding import Batch, Limits, Prompt
from engines.hf.scoring import score_pairs
from engines.hf.ways import choose_states
from engines.prompting import Pair
from tests.engines.hf.families import VOCABULARY, families, tiny_model

# Families that need more than sizes: other inputs, other packages, settings by hand; or are large.
NOT_MADE = frozenset(
    [
        "axk2",
        "blt",
        "cohere_compass_text",
        "dbrx",
        "deepseek_v32",
        "dots1",
        "gemma3n",
        "gemma4",
        "gemma4_assistant",
        "gemma4_text",
        "gemma4_unified",
        "gemma4_unified_assistant",
        "gemma4_unified_text",
        "glm_moe_dsa",
        "musicgen",
        "musicgen_melody",
        "qwen4_exp",
        "qwen4_exp_text",
        "reformer",
        "xlm",
        "xlstm",
        "xmod",
        "zamba",
    ]
)
# Encoders and decoders of translators, and models whose cache disagrees with whole sequences.
REFUSED = frozenset(
    [
        "bart",
        "bert",
        "bert-generation",
        "big_bird",
        "bigbird_pegasus",
        "blenderbot",
        "blenderbot-small",
        "camembert",
        "cpmant",
        "data2vec-text",
        "deepseek_v4",
        "doge",
        "electra",
        "ernie",
        "hrm_text",
        "marian",
        "mbart",
        "megatron-bert",
        "moshi",
        "mvp",
        "openai-gpt",
        "pegasus",
        "plbart",
        "prophetnet",
        "recurrent_gemma",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roc_bert",
        "roformer",
        "rwkv",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xlnet",
    ]
)

GREEDY = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=5, seed=0)
BEGINNING = [(7 * i + 3) % 100 + 20 for i in range(70)]  # long enough to be shared, and for windows
PROMPTS = [[*BEGINNING, 30, 31], [*BEGINNING, 40], [25, 26, 27], [28, 29]]
CONTINUATIONS = [[50], [51, 52, 53], [54, 55]]


def stock_logprobs(model: PreTrainedModel, pair: Pair) -> float:
    """The whole text in one pass of the model's own code, shifted by hand."""
    ids = torch.tensor([pair.context + pair.target])
    logps = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
    places = range(len(pair.context) - 1, ids.shape[1] - 1)
    return sum(float(logps[at, token]) for at, token in zip(places, pair.target, strict=True))


def stock_greedy(model: PreTrainedModel, prompt: list[int]) -> list[int]:
    ids = list(prompt)
    for _ in range(GREEDY.max_new_tokens):
        ids.append(
            int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        )
    return ids[len(prompt) :]


def ours_greedy(make_states: Any, prompts: list[list[int]]) -> dict[tuple[str, int], str]:
    """Two draws of each prompt, in one batch of all lengths."""
    plain: Any = SimpleNamespace(
        decode=lambda ids, **_: " ".join(map(str, ids)), all_special_ids=[], all_special_tokens=[]
    )
    batch = Batch(make_states(), GREEDY, Limits(64, 32768, 0), tokenizer=plain, stop=frozenset())
    asked = [Prompt(ids, Request(str(n), ""), (0, 1)) for n, ids in enumerate(prompts)]
    return {(found.key, found.draw): found.text for found in batch.run(asked)}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in families() if name not in NOT_MADE])
@torch.inference_mode()
def test_a_family_is_scored_and_sampled_as_by_its_own_code_or_refused(name: str) -> None:
    model = tiny_model(name)
    pairs = [Pair(prompt, target) for prompt in PROMPTS for target in CONTINUATIONS]
    if name in REFUSED:
        with pytest.raises(ModelError, match=f"{model.config.model_type}: cannot be sampled"):
            choose_states(model)
        return
    expected = [stock_logprobs(model, pair) for pair in pairs]
    continued = [stock_greedy(model, prompt) for prompt in PROMPTS]

    make_states = choose_states(model)
    scored = score_pairs(model, pairs, window=4096, cache_tokens=32768)
    assert [found.total for found in scored] == pytest.approx(expected, abs=1e-4)
    assert ours_greedy(make_states, PROMPTS) == {
        (str(n), draw): " ".join(map(str, ids))
        for n, ids in enumerate(continued)
        for draw in (0, 1)
    }


def test_sharing_is_refused_where_attention_is_replaced_silently() -> None:
    # Nemotron ignores the attention function's mask of its own, gpt-oss has sinks, Gemma 2 caps.
    for name in ("nemotron", "gpt_oss", "gemma2"):
        model = tiny_model(name)
        choose_states(model)
        assert not can_share(model)
    model = tiny_model("llama")
    choose_states(model)
    assert can_share(model)
    assert model.config.vocab_size == VOCABULARY

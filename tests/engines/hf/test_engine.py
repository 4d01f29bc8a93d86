from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.config import EngineSection
from core.errors import ModelError
from core.records import Message, user
from engines.engine import Continuation, Decoding, Engine, Request, Sampled, draw_seed
from engines.hf.engine import HFEngine
from engines.models import load_model, load_tokenizer

FP32 = EngineSection(device="cpu", dtype="float32", max_batch_rows=8)
PROMPTS = ["Hi", "The quick brown fox", "Say something long about dogs and foxes.", "Score?"]
WARM = Decoding(temperature=1.0, top_p=0.9, max_new_tokens=12, seed=3)
GREEDY = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=12, seed=3)


@pytest.fixture(scope="module")
def engine(tiny: Path) -> HFEngine:
    return HFEngine(tiny, FP32)


def requests(draws: tuple[int, ...] = (0,)) -> list[Request]:
    return [Request(f"p{i}", user(text), draws) for i, text in enumerate(PROMPTS)]


def texts(engine: Engine, asked: list[Request], decoding: Decoding) -> dict[tuple[str, int], str]:
    return {(s.key, s.draw): s.text for s in engine.sample(asked, decoding)}


def reference_greedy(folder: Path, messages: list[Message], new_tokens: int) -> str:
    """Greedy decoding one prompt at a time, without cache, padding or batch."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    start = len(ids)
    for _ in range(new_tokens):
        with torch.inference_mode():
            following = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if following == tokenizer.eos_token_id:
            break
        ids.append(following)
    return str(tokenizer.decode(ids[start:], skip_special_tokens=True))


def test_the_engine_follows_the_protocol(engine: HFEngine) -> None:
    assert isinstance(engine, Engine)


def test_greedy_batch_equals_one_prompt_at_a_time_without_cache(
    engine: HFEngine, tiny: Path
) -> None:
    found = texts(engine, requests(), GREEDY)
    for i, text in enumerate(PROMPTS):
        assert found[f"p{i}", 0] == reference_greedy(tiny, user(text), 12)


def test_a_shared_beginning_is_run_once_and_changes_nothing(engine: HFEngine, tiny: Path) -> None:
    # 300 common tokens, like a rubric, then endings of different length: prefix, then padding.
    rubric = "fox " * 300
    endings = ["a", "The lazy dog jumps over the quick brown fox.", "bb cc dd"]
    asked = [Request(f"p{i}", user(rubric + text)) for i, text in enumerate(endings)]
    found = texts(engine, asked, GREEDY)
    for i, text in enumerate(endings):
        assert found[f"p{i}", 0] == reference_greedy(tiny, user(rubric + text), 12)


def test_prompts_that_are_each_others_beginning_are_not_shared_away(
    engine: HFEngine, tiny: Path
) -> None:
    same = [Request("a", user("fox " * 200)), Request("b", user("fox " * 200))]
    found = texts(engine, same, GREEDY)
    expected = reference_greedy(tiny, user("fox " * 200), 12)
    assert found == {("a", 0): expected, ("b", 0): expected}


def test_a_draw_does_not_depend_on_its_neighbours_order_or_batch_size(
    engine: HFEngine, tiny: Path
) -> None:
    together = texts(engine, requests((0, 1, 2)), WARM)
    backwards = texts(engine, requests((0, 1, 2))[::-1], WARM)
    alone = HFEngine(tiny, EngineSection(device="cpu", dtype="float32", max_batch_rows=1))
    assert together == backwards == texts(alone, requests((0, 1, 2)), WARM)


def test_asking_for_one_missing_draw_gives_the_same_text_as_asking_for_all(
    engine: HFEngine,
) -> None:
    everything = texts(engine, requests((0, 1, 2)), WARM)
    only = texts(engine, [Request("p1", user(PROMPTS[1]), (2,))], WARM)
    assert only == {("p1", 2): everything["p1", 2]}


def test_draws_differ_and_another_seed_differs(engine: HFEngine) -> None:
    asked = [Request("p", user(PROMPTS[1]), (0, 1, 2, 3))]
    first = texts(engine, asked, WARM)
    assert len(set(first.values())) > 1
    assert texts(engine, asked, Decoding(1.0, 0.9, 12, seed=4)) != first


def test_every_wanted_draw_comes_once_and_counts_its_tokens(engine: HFEngine) -> None:
    out = list(engine.sample(requests((0, 3)), WARM))
    assert sorted((s.key, s.draw) for s in out) == [(f"p{i}", d) for i in range(4) for d in (0, 3)]
    for sampled in out:
        assert sampled.finish in ("stop", "length")
        assert sampled.tokens == 12 if sampled.finish == "length" else sampled.tokens <= 12


def ends_at_once(tiny: Path, target: Path) -> Path:
    """A copy of the tiny model that always says "end of turn": its head row is far the largest."""
    shutil.copytree(tiny, target)
    model = load_model(target, torch.float32)
    tokenizer = load_tokenizer(target)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head.zero_()
        model.base_model.norm.weight.zero_()
    model.generation_config.eos_token_id = [tokenizer.pad_token_id, tokenizer.eos_token_id]
    model.save_pretrained(target)
    return target


def test_sampling_stops_at_any_configured_end_token_and_leaves_it_out(
    tiny: Path, tmp_path: Path
) -> None:
    # All logits are 0, greedy takes id 0, the pad token, which generation_config names as an end.
    out = list(HFEngine(ends_at_once(tiny, tmp_path / "m"), FP32).sample(requests(), GREEDY))
    assert [(s.text, s.tokens, s.finish) for s in out] == [("", 1, "stop")] * 4


def test_a_prompt_without_room_for_an_answer_is_an_outcome_not_a_crash(engine: HFEngine) -> None:
    long = Request("long", user("fox " * 5000), (0, 1))
    out = list(engine.sample([long, *requests()], WARM))
    skipped = [s for s in out if s.key == "long"]
    assert skipped == [Sampled("long", d, "", 0, "too_long") for d in (0, 1)]
    assert len(out) == 6


def test_a_long_prompt_may_lose_its_beginning_instead(engine: HFEngine, tiny: Path) -> None:
    # The window holds 4,096 tokens, 12 of them new: the last 4,084 of the prompt stay.
    text = "Hi " + "fox " * 5000
    tokenizer = load_tokenizer(tiny)
    kept = tokenizer.decode(tokenizer(text).input_ids[-4084:])
    cut = Decoding(0.0, 1.0, 12, seed=3, truncate=True)
    (found,) = engine.sample([Request("p", text)], cut)
    assert found.finish != "too_long"
    (whole,) = engine.sample([Request("p", kept)], GREEDY)
    assert found == whole


def test_a_raw_prompt_is_continued_without_a_template(engine: HFEngine, tiny: Path) -> None:
    model, tokenizer = load_model(tiny, torch.float32), load_tokenizer(tiny)
    ids = tokenizer("The quick brown").input_ids
    start = len(ids)
    while len(ids) < start + 12 and ids[-1] != tokenizer.eos_token_id:
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    expected = tokenizer.decode(ids[start:], skip_special_tokens=True)
    raw = [Request("raw", "The quick brown"), Request("other", "Hi")]
    assert texts(engine, raw, GREEDY)["raw", 0] == expected
    assert texts(engine, [Request("raw", user("The quick brown"))], GREEDY)["raw", 0] != expected


def test_a_stop_string_ends_a_draw_and_is_not_part_of_its_text(engine: HFEngine) -> None:
    asked = requests((0, 1, 2, 3))
    whole = texts(engine, asked, Decoding(1.0, 0.9, 60, seed=3))
    seen = Counter(char for text in whole.values() for char in text if char.isascii())
    ((char, _),) = seen.most_common(1)
    decoding = Decoding(1.0, 0.9, 60, seed=3, stop=("never said", char))
    found = list(engine.sample(asked, decoding))
    for sampled in found:
        full = whole[sampled.key, sampled.draw]
        assert sampled.text == full.split(char)[0]
        assert sampled.finish == "stop" or char not in full
    cut = [s for s in found if char in whole[s.key, s.draw]]
    assert len(cut) > 1
    assert min(s.tokens for s in cut) < 60  # not decoded to the end and cut afterwards


def test_the_seeds_of_conversations_never_move() -> None:
    # Computed with the first released version: sha256 of "3/<sha256 of the messages>/2".
    expected = 172634776209098441874523827788900132627
    assert draw_seed(Decoding(0.7, 0.9, 5, seed=3), user("Hi"), 2) == expected
    raw = draw_seed(Decoding(0.7, 0.9, 5, seed=3), "Hi", 2)
    assert raw != expected
    assert raw != draw_seed(Decoding(0.7, 0.9, 5, seed=3), "Ho", 2)


def test_the_reply_never_contains_the_prompt(engine: HFEngine) -> None:
    canary = "xylophone quartz Score: 5"
    for sampled in engine.sample([Request("p", user(canary), (0, 1))], WARM):
        assert "xylophone quartz" not in sampled.text


def test_scores_equal_a_direct_computation_token_by_token(engine: HFEngine, tiny: Path) -> None:
    model = load_model(tiny, torch.float32)
    tokenizer = load_tokenizer(tiny)
    cases = [("The quick", " brown fox"), ("Hi", " there"), ("The lazy ", "dog."), ("", "fox")]
    found = engine.score([Continuation(*case) for case in cases])
    for (context, continuation), got in zip(cases, found, strict=True):
        whole = tokenizer(context + continuation).input_ids
        known = len(tokenizer(context.rstrip()).input_ids)
        if not context:
            whole, known = [tokenizer.eos_token_id, *whole], 1
        with torch.inference_mode():
            logps = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        # The token at place t is predicted at place t - 1: a shift by one, derived here by hand.
        expected = sum(float(logps[t - 1, whole[t]]) for t in range(known, len(whole)))
        assert got.total == pytest.approx(expected, abs=1e-4)
        assert got.tokens == len(whole) - known


def test_a_reply_is_scored_after_the_conversation_as_the_template_renders_it(
    engine: HFEngine, tiny: Path
) -> None:
    model, tokenizer = load_model(tiny, torch.float32), load_tokenizer(tiny)
    context = tuple(user("Which is better?"))
    known = tokenizer.apply_chat_template(
        list(context), add_generation_prompt=True, tokenize=True, return_dict=False
    )
    asked = [Continuation(context, text) for text in ("m", "M", " the fox")]
    for request, found in zip(asked, engine.score(asked), strict=True):
        target = tokenizer(request.continuation, add_special_tokens=False).input_ids
        with torch.inference_mode():
            logps = model(torch.tensor([known + target])).logits[0].log_softmax(-1)
        places = enumerate(target, start=len(known) - 1)
        assert found.total == pytest.approx(sum(float(logps[at, t]) for at, t in places), abs=1e-4)
        assert found.tokens == len(target)


def test_a_batch_scores_as_its_requests_alone(engine: HFEngine) -> None:
    header = "The quick brown fox jumps over the lazy dog. " * 30
    asked = [
        Continuation(context, continuation)
        for context in (header + "Dog:", header + "The fox", "Hi", "", "The lazy ")
        for continuation in (" dog", " fox jumps over", " x")
    ]
    for request, together in zip(asked, engine.score(asked), strict=True):
        (alone,) = engine.score([request])
        assert together.total == pytest.approx(alone.total, abs=1e-5 * max(1, alone.tokens))
        assert together[1:] == alone[1:]


def test_scores_come_back_in_the_order_asked(engine: HFEngine) -> None:
    asked = [Continuation("The quick brown fox jumps", " over"), Continuation("Hi", " there")]
    assert engine.score(asked) == engine.score(asked[::-1])[::-1]


def test_the_fingerprint_changes_with_a_weight_byte_and_with_the_dtype(
    tiny: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    assert HFEngine(copy, FP32).fingerprint == HFEngine(tiny, FP32).fingerprint
    bf16 = EngineSection(device="cpu", dtype="bfloat16")
    assert HFEngine(tiny, bf16).fingerprint != HFEngine(tiny, FP32).fingerprint
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert HFEngine(copy, FP32).fingerprint != HFEngine(tiny, FP32).fingerprint


def test_the_chat_template_comes_from_the_tokenizer_not_from_the_models_name(
    tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "llama-2-70b-chat"  # a name that guessing would misread
    shutil.copytree(tiny, folder)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}Q: {{ m['content'] }}\nA:{% endfor %}"
    )
    tokenizer = load_tokenizer(folder)
    ids = HFEngine(folder, FP32).render(user("Hi"))
    assert tokenizer.decode(ids) == "Q: Hi\nA:"


def test_a_model_without_chat_template_is_refused_with_the_remedy(
    tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(tiny, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match=r"bare: .*no chat template.*model\.chat_template"):
        HFEngine(folder, FP32)


def test_corrupt_weights_are_refused_by_name(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corrupt"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match=r"corrupt: cannot load the weights .*damaged"):
        HFEngine(folder, FP32)


def test_pickled_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="only pickled weights"):
        HFEngine(folder, FP32)

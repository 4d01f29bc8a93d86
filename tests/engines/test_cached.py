from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import DataError
from core.records import user
from engines.cached import CachedEngine
from engines.engine import Decoding, Request, Sampled
from tests.engines.scripted import ScriptedEngine

GREEDY = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=8, seed=0)


def scripted(name: str) -> ScriptedEngine:
    """An engine that says its own name, the prompt and the draw."""
    return ScriptedEngine(
        lambda messages, draw: f"{name} {messages[-1]['content']} {draw}", name=name
    )


def said(engine: CachedEngine, decoding: Decoding = GREEDY) -> list[Sampled]:
    requests = [Request("p", user("hi"), (0, 1)), Request("q", user("ho"))]
    return sorted(engine.sample(requests, decoding), key=lambda s: (s.key, s.draw))


def test_what_was_sampled_once_is_not_sampled_again_even_by_another_process(tmp_path: Path) -> None:
    first, second = scripted("m"), scripted("m")
    before = said(CachedEngine(first, tmp_path / "c.sqlite"))
    after = said(CachedEngine(second, tmp_path / "c.sqlite"))
    assert before == after
    assert [s.text for s in after] == ["m hi 0", "m hi 1", "m ho 0"]
    assert (len(first.calls), second.calls) == (3, [])


def test_only_the_missing_draws_are_sampled(tmp_path: Path) -> None:
    engine = scripted("m")
    cached = CachedEngine(engine, tmp_path / "c.sqlite")
    list(cached.sample([Request("p", user("hi"), (1,))], GREEDY))
    said(cached)
    assert engine.calls == [("p", 1), ("p", 0), ("q", 0)]


def test_a_draw_kept_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    engine = scripted("m")
    stream = CachedEngine(engine, tmp_path / "c.sqlite").sample(
        [Request("p", user("hi"), (0, 1))], GREEDY
    )
    next(stream)  # the process dies here: the second draw is never reached
    again = scripted("m")
    said(CachedEngine(again, tmp_path / "c.sqlite"))
    assert again.calls == [("p", 1), ("q", 0)]


@pytest.mark.parametrize(
    ("name", "decoding"),
    [
        ("other weights", GREEDY),
        ("m", replace(GREEDY, temperature=0.7)),
        ("m", replace(GREEDY, top_p=0.9)),
        ("m", replace(GREEDY, max_new_tokens=9)),
        ("m", replace(GREEDY, seed=1)),
        ("m", replace(GREEDY, stop=("\n",))),
    ],
)
def test_other_weights_or_decoding_share_nothing(
    name: str, decoding: Decoding, tmp_path: Path
) -> None:
    said(CachedEngine(scripted("m"), tmp_path / "c.sqlite"))
    engine = scripted(name)
    found = said(CachedEngine(engine, tmp_path / "c.sqlite"), decoding)
    assert len(engine.calls) == 3
    assert all(s.text.startswith(name) for s in found)


def test_the_name_a_prompt_has_among_others_does_not_matter(tmp_path: Path) -> None:
    said(CachedEngine(scripted("m"), tmp_path / "c.sqlite"))
    engine = scripted("m")
    cached = CachedEngine(engine, tmp_path / "c.sqlite")
    (found,) = cached.sample([Request("another key", user("hi"))], GREEDY)
    assert (found.key, found.text, engine.calls) == ("another key", "m hi 0", [])


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    file.write_text("not a database, but long enough to look like a file of some sort" * 20)
    with pytest.raises(DataError, match=r"c\.sqlite: damaged, or not a cache of draws"):
        CachedEngine(scripted("m"), file)

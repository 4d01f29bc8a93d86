from __future__ import annotations

from benchmarks.same_text import Differences, compare_texts


class Letters:
    """Token n is the n-th letter; its gap at a place is what it was told."""

    def __init__(self, gap: float = 0.0) -> None:
        self._gap = gap
        self.asked: list[tuple[list[int], list[int]]] = []

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(ord("a") + at) for at in ids)

    def gap(self, prompt: list[int], said: list[int]) -> float:
        self.asked.append((prompt, said))
        return self._gap


def test_the_same_texts_are_equal() -> None:
    found = compare_texts(Letters(), [[9], [9]], ["abc", "b"], [[0, 1, 2], [1]])
    assert found == Differences(2, 0, 0, 0.0)
    assert found.equal


def test_texts_that_part_where_two_tokens_tie_are_equal() -> None:
    peer = Letters(gap=0.0005)
    found = compare_texts(peer, [[7]], ["abx"], [[0, 1, 2]])
    assert found == Differences(0, 1, 0, 0.0005)
    assert found.equal
    # They agree on "ab": the gap that counts is that of the third token.
    assert peer.asked == [([7], [0, 1])]


def test_texts_that_part_where_one_token_is_clearly_likelier_differ() -> None:
    found = compare_texts(Letters(gap=0.5), [[7], [8]], ["xbc", "a"], [[0, 1, 2], [0]])
    assert found == Differences(1, 0, 1, 0.5)
    assert not found.equal


def test_a_text_that_goes_on_where_the_other_ends_differs_at_the_last_token() -> None:
    peer = Letters(gap=1.0)
    compare_texts(peer, [[7]], ["abc"], [[0, 1]])
    assert peer.asked == [([7], [0])]


class Halves(Letters):
    """Tokens 0 and 1 are the halves of "é"; alone the first reads as U+FFFD."""

    def decode(self, ids: list[int]) -> str:
        text = bytes(byte for at in ids for byte in [[0xC3], [0xA9], [0xA8]][at])
        return text.decode(errors="replace")


def test_half_a_character_is_no_difference_yet() -> None:
    # Ours says "é", theirs "è": the first halves are the same, they part at the second token.
    peer = Halves(gap=1.0)
    compare_texts(peer, [[7]], ["é"], [[0, 2]])
    assert peer.asked == [([7], [0])]

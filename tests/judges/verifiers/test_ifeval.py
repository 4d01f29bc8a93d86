from __future__ import annotations

import random

import pytest

from judges.verifiers.ifeval import Followed, check


def followed(instruction: str, response: str, **arguments: object) -> Followed:
    return check("A prompt.", [instruction], [arguments], response)


YES, NO, LOOSELY = (
    Followed((True,), (True,)),
    Followed((False,), (False,)),
    Followed((False,), (True,)),
)


@pytest.mark.parametrize(
    ("instruction", "arguments", "response", "expected"),
    [
        ("punctuation:no_comma", {}, "No pause here", YES),
        ("punctuation:no_comma", {}, "First, a pause", NO),
        # Without its first line the response has no comma: loose readings drop introductions.
        ("punctuation:no_comma", {}, "Sure, here it is:\nNo pause", LOOSELY),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n* two", YES),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one", NO),
        ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "a b", YES),
        ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "a b c", NO),
        (
            "length_constraints:number_sentences",
            {"relation": "at least", "num_sentences": 3},
            "One. Two of Mr. Smith. Three.",  # "Mr." ends no sentence
            YES,
        ),
        (
            "length_constraints:number_sentences",
            {"relation": "at least", "num_sentences": 4},
            "One. Two of Mr. Smith. Three.",
            NO,
        ),
        ("change_case:english_lowercase", {}, "all of this is written in plain english", YES),
        ("change_case:english_lowercase", {}, "Some of this is written in capitals", NO),
        ("language:response_language", {"language": "es"}, "Las abejas hacen miel y cera.", YES),
        ("language:response_language", {"language": "es"}, "Bees make honey and wax here.", NO),
        ("keywords:existence", {"keywords": ["kettle"], "frequency": None}, "a kettle", YES),
        ("detectable_format:json_format", {}, '{"a": 1}', YES),
        ("punctuation:no_comma", {}, "   ", NO),  # an empty response follows nothing
    ],
)
def test_a_response_follows_an_instruction_or_not(
    instruction: str, arguments: dict[str, object], response: str, expected: Followed
) -> None:
    given = {name: value for name, value in arguments.items() if value is not None}
    assert followed(instruction, response, **given) == expected


def test_instructions_are_checked_one_by_one() -> None:
    found = check(
        "A prompt.",
        ["punctuation:no_comma", "keywords:forbidden_words"],
        [{}, {"forbidden_words": ["snow"]}],
        "No pause, but no white either",
    )
    assert found == Followed((False, True), (False, True))


def test_an_unusable_argument_is_judged_the_same_way_every_time() -> None:
    # lm-eval replaces the letter "!" by a random one; a third of the draws would say yes.
    def once() -> Followed:
        return followed(
            "keywords:letter_frequency",
            "An essay on the essence of ice cream, easily eaten!",
            letter="!",
            let_frequency=6,
            let_relation="at least",
        )

    assert len({once() for _ in range(30)}) == 1


def test_language_detection_is_judged_the_same_way_every_time() -> None:
    # Two languages in equal parts: unseeded, langdetect names one or the other.
    text = "the cat sat on the mat and el gato se sienta en la alfombra de la casa with the dog"
    found = {followed("language:response_language", text, language="es") for _ in range(15)}
    assert len(found) == 1


def test_checking_leaves_the_random_generator_as_it_was() -> None:
    random.seed(7)
    expected = [random.random() for _ in range(3)]
    random.seed(7)
    first = random.random()
    followed("keywords:letter_frequency", "x", letter="!", let_frequency=1, let_relation="at least")
    assert [first, random.random(), random.random()] == expected


def test_json_of_a_hundred_thousand_brackets_is_not_followed() -> None:
    assert followed("detectable_format:json_format", "[" * 100_000) == NO


def test_an_unknown_instruction_is_an_error() -> None:
    with pytest.raises(KeyError):
        followed("format:no_such_thing", "text")

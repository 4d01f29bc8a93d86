"""Bugs planted in the explorer; see test_planted_bugs.py."""

from __future__ import annotations

from tests.planting import Plant

_TESTS = "evaluation/explorer/"

EXPLORER_PLANTS = [
    Plant(
        "two orders that name different winners are no flip",
        "web/explorer/views/head_to_head.py",
        '"flips": both == set(_WINNERS),',
        '"flips": self.ab == self.ba,',
        _TESTS + "test_benchmarks.py::test_comparisons_are_filtered_by_how_the_orders_ended",
    ),
    Plant(
        "the first order's winner is the verdict",
        "web/explorer/views/head_to_head.py",
        'winner = orders[0] if len(set(orders)) == 1 else "tie"',
        "winner = orders[0]",
        _TESTS
        + "test_benchmarks.py::test_a_comparisons_line_has_both_orders_and_the_joint_verdict",
    ),
    Plant(
        "a preference of 0, the package's draw, is a loss",
        "web/explorer/index/facts.py",
        "value = preference or DRAW",
        "value = preference",
        _TESTS + "test_benchmarks.py::test_annotations_are_filtered_by_outcome",
    ),
    Plant(
        "a reply without a score is the lowest",
        "web/explorer/views/loop.py",
        '"lowest": "value IS NULL, value",',
        '"lowest": "value",',
        _TESTS
        + "test_loop.py::test_judgments_are_filtered_by_cause_and_ordered_by_length_and_score",
    ),
    Plant(
        "replies of equal ranks are compared",
        "web/explorer/views/judging.py",
        "if one.rank < other.rank and",
        "if one.rank <= other.rank and",
        _TESTS + "test_benchmarks.py::"
        "test_scores_against_human_rankings_count_only_pairs_that_humans_order",
    ),
    Plant(
        "an altered file is shown as if it were what its manifest describes",
        "web/explorer/index/index.py",
        "                self._run.store.verify(ref, manifest)\n",
        "",
        _TESTS + "test_index.py::test_a_file_that_was_altered_behind_its_manifest_is_refused",
    ),
    Plant(
        "an artifact made anew is never read again",
        "web/explorer/index/index.py",
        "if known is not None and known.made == made:",
        "if known is not None:",
        _TESTS + "test_index.py::test_an_artifact_made_anew_is_read_anew",
    ),
    Plant(
        "half a character reaches the page",
        "web/explorer/index/reading.py",
        "        value = _whole(value)\n",
        "        pass\n",
        _TESTS + "test_index.py::"
        "test_half_a_character_becomes_its_replacement_and_other_escapes_stay",
    ),
    Plant(
        "the trigrams decide, whatever the text says",
        "web/explorer/index/search.py",
        'clauses, values = ["instr(texts.text, ?) > 0"] * len(words), list(words)',
        'clauses, values = (["1"], []) if grams else '
        '(["instr(texts.text, ?) > 0"] * len(words), list(words))',
        _TESTS + "test_search.py::test_the_trigram_index_changes_nothing_but_time",
    ),
    Plant(
        "a list's model text is put into the page as it is",
        "web/explorer/templates/listing.html.j2",
        '<a href="{{ line.href }}">{{ line.label | plain }}</a>',
        '<a href="{{ line.href }}">{{ line.label | safe }}</a>',
        _TESTS + "test_hostile.py::"
        "test_hostile_words_make_no_element_no_handler_and_no_link_elsewhere",
    ),
    Plant(
        "what a stopped run has not finished is called not made",
        "web/explorer/run_folder.py",
        "        if (begun := self._begun(ref)) is not None:\n            return begun\n",
        "",
        _TESTS + "test_run_folder.py::test_what_is_missing_says_why",
    ),
    Plant(
        "the index lies in the run",
        "web/explorer/index/index.py",
        'sqlite3.connect("", check_same_thread=False)',
        'sqlite3.connect(run.folder / "index.sqlite", check_same_thread=False)',
        _TESTS + "test_app.py::test_every_page_can_be_reached_and_nothing_is_written",
    ),
]

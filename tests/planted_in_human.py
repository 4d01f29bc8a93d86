"""Bugs of the human study to be planted by tests/test_planted_bugs.py, one at a time."""

from __future__ import annotations

from tests.planting import Plant

HUMAN_PLANTS = [
    Plant(
        "the answer on the left is always A's",
        "evaluation/human/server/pages.py",
        'return "AB"[shown.order[0 if choice == "left" else 1]]',
        'return "AB"[0 if choice == "left" else 1]',
        "evaluation/human/test_pages.py::test_a_vote_for_a_side_becomes_a_vote_for_whose_answer_stood_there",
    ),
    Plant(
        "all annotators see an item with the same sides",
        "evaluation/human/study.py",
        'random.Random(f"sides/{study.seed}/{annotator}")',
        'random.Random(f"sides/{study.seed}")',
        "evaluation/human/test_study.py::test_sides_of_one_item_differ_between_annotators",
    ),
    Plant(
        "A stands on the left more often than B",
        "evaluation/human/study.py",
        "a_left = n // 2 +",
        "a_left = n // 2 + 1 +",
        "evaluation/human/test_study.py::test_a_stands_on_the_left_for_half_of_the_items_of_each_annotator",
    ),
    Plant(
        "a vote that was undone counts",
        "evaluation/human/ballots.py",
        'where = "" if undone else "WHERE undone_at IS NULL "',
        'where = ""',
        "evaluation/human/test_votes.py::test_votes_say_whose_answer_was_better_and_where_it_stood",
    ),
    Plant(
        "a double click is an error, or a second vote",
        "evaluation/human/ballots.py",
        "    if there is not None:\n",
        "    if False:\n",
        "evaluation/human/test_ballots.py::test_a_second_ballot_on_an_item_changes_nothing",
    ),
    Plant(
        "votes are acknowledged before the disk has them",
        "evaluation/human/ballots.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = OFF",
        "evaluation/human/test_ballots.py::test_commits_wait_for_the_disk",
    ),
    Plant(
        "anybody may undo anybody's vote",
        "evaluation/human/ballots.py",
        "WHERE id = ? AND annotator = ? AND",
        "WHERE id = ? AND ? != '' AND",
        "evaluation/human/test_ballots.py::test_nobody_undoes_another_annotators_ballot",
    ),
    Plant(
        "any form is accepted, whoever it was made for",
        "evaluation/human/server/desk.py",
        'if not hmac.compare_digest(expected, code.encode(errors="replace")):',
        "if False:",
        "evaluation/human/test_pages.py::test_a_vote_needs_the_form_of_its_own_annotator_and_item",
    ),
    Plant(
        "a study with other settings takes the place of the one that has votes",
        "evaluation/human/prepare.py",
        "    if changed:\n",
        "    if False:\n",
        "evaluation/human/test_prepare.py::test_preparing_again_changes_nothing_and_other_settings_are_refused",
    ),
    Plant(
        "the links can be read by everybody on the machine",
        "evaluation/human/prepare.py",
        "0o600",
        "0o644",
        "evaluation/human/test_prepare.py::test_each_annotator_gets_a_secret_of_192_bits_that_only_the_owner_can_read",
    ),
    Plant(
        "ranks are kept in the order shown, not in the study's",
        "evaluation/human/server/pages.py",
        "by_text = dict(zip(shown.order, ranks, strict=True))",
        "by_text = dict(enumerate(ranks))",
        "evaluation/human/test_pages.py::test_replies_are_ranked_in_the_studys_order_whatever_order_they_were_shown_in",
    ),
    Plant(
        "a page of another site can vote",
        "web/kit/guard.py",
        'return site not in ("same-origin", "none")',
        "return False",
        "web/kit/test_guard.py::test_a_post_that_another_page_sent_is_refused",
    ),
    Plant(
        "a body without a length may be of any size",
        "web/kit/guard.py",
        "        if len(found) > most:\n",
        "        if False:\n",
        "web/kit/test_guard.py::test_a_body_in_parts_without_a_length_is_counted",
    ),
    Plant(
        "an answer's images vanish without a word",
        "web/kit/text.py",
        '    made.add_render_rule("image", _image)\n',
        "",
        "web/kit/test_text.py::test_hostile_text_is_shown_and_does_nothing",
    ),
    Plant(
        "a right-to-left override reverses the page",
        "web/kit/text.py",
        '_DIRECTIONS = re.compile("[\\u202a-\\u202e\\u2066-\\u2069]")',
        '_DIRECTIONS = re.compile("[\\u202a]")',
        "web/kit/test_text.py::test_hostile_text_is_shown_and_does_nothing",
    ),
]

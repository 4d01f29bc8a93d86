"""Plants for the statistics of human votes, their artifacts and the report's section."""

from __future__ import annotations

from tests.planting import Plant

VOTES_PLANTS = [
    Plant(
        "most votes are a majority",
        "evaluation/human/statistics.py",
        'if 2 * count > len(choices) else Majority("tie", split=True)',
        'if 3 * count > len(choices) else Majority("tie", split=True)',
        "evaluation/human/test_statistics.py::test_the_majority_is_the_choice_of_more_than_half",
    ),
    Plant(
        "an item counts before all have voted",
        "evaluation/human/statistics.py",
        "majority(self.choices) if len(self.votes) == self.wanted else None",
        "majority(self.choices) if self.votes else None",
        "evaluation/human/test_statistics.py::test_an_item_that_lacks_a_vote_is_missing_and_in_no_rate",
    ),
    Plant(
        "ties without a majority are said to have been voted",
        "evaluation/human/statistics.py",
        'found.choice == "tie" and not found.split for',
        'found.choice == "tie" for',
        "evaluation/human/test_statistics.py::test_win_tie_lose_with_ties_told_apart",
    ),
    Plant(
        "the side is read as if A always stood on the left",
        "evaluation/human/statistics.py",
        "[vote.choice == vote.left for vote",
        '[vote.choice == "A" for vote',
        "evaluation/human/test_statistics.py::test_votes_for_the_left_side_are_counted_whoever_stands_there",
    ),
    Plant(
        "a value is paired with itself",
        "evaluation/human/krippendorff.py",
        "np.outer(counts, counts) - np.diag(counts)",
        "np.outer(counts, counts)",
        "evaluation/human/test_krippendorff.py::test_three_units_by_hand",
    ),
    Plant(
        "pairs in units with more votes count more",
        "evaluation/human/krippendorff.py",
        "return pairs / (len(unit) - 1)",
        "return pairs",
        "evaluation/human/test_krippendorff.py::test_the_published_example_with_four_observers_and_missing_values",
    ),
    Plant(
        "votes that never vary are perfect agreement",
        "evaluation/human/krippendorff.py",
        "    if expected == 0:\n        return None\n",
        "    if expected == 0:\n        return 1.0\n",
        "evaluation/human/test_krippendorff.py::test_votes_that_never_vary_leave_it_undefined_and_are_not_perfect_agreement",
    ),
    Plant(
        "a tie is as far from A as B is",
        "evaluation/human/statistics.py",
        'level="ordinal"',
        'level="nominal"',
        "evaluation/human/test_statistics.py::test_alpha_of_the_votes_has_a_tie_in_the_middle_when_ordinal",
    ),
    Plant(
        "the other matchup's verdicts are not turned round",
        "evaluation/human/judge.py",
        "v if v.a == a else v.swapped()",
        "v",
        "evaluation/human/test_judge.py::test_verdicts_of_the_matchup_named_the_other_way_are_turned_round",
    ),
    Plant(
        "a verdict on other answers is compared",
        "evaluation/human/results.py",
        "for key, verdict in verdicts.items() if key in same}",
        "for key, verdict in verdicts.items() if key in same or same}",
        "evaluation/human/test_results.py::test_a_verdict_on_other_answers_than_people_saw_is_not_compared",
    ),
    Plant(
        "results of earlier votes stay",
        "evaluation/human/results.py",
        '"votes": sha256_text(',
        '"votes": "" and sha256_text(',
        "evaluation/human/test_results.py::test_the_same_votes_are_not_counted_twice_and_new_ones_replace_the_results",
    ),
    Plant(
        "people's votes are gated unasked",
        "reports/gate/pairs.py",
        'metric.benchmark != "human" and ',
        "",
        "reports/test_human.py::test_what_people_said_is_gated_only_if_asked_for",
    ),
    Plant(
        "the paper's rates stand beside another study",
        "reports/published/comparable.py",
        "yield from departures.people(results)",
        "yield from ()",
        "reports/test_human.py::test_the_paper_s_rates_do_not_stand_beside_other_prompts_and_fewer_people",
    ),
]

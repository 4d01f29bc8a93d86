"""Bugs planted in the reports; see test_planted_bugs.py."""

from __future__ import annotations

from tests.planting import Plant

REPORT_PLANTS = [
    Plant(
        "an artifact made from another input is reported",
        "reports/lineage.py",
        "if now != digest:",
        "if not now:",
        "reports/test_lineage.py::test_an_artifact_made_from_another_input_is_stale",
    ),
    Plant(
        "files whose bytes changed are reported",
        "reports/lineage.py",
        "        store.verify(ref, manifests[address], rehash=rehash)\n",
        "        store.manifest(ref)\n",
        "reports/test_lineage.py::test_a_changed_weight_byte_is_noticed_and_named",
    ),
    Plant(
        "a draw in AlpacaEval is an item of 0",
        "reports/item_values.py",
        "((found or 1.5) - 1)",
        "((found or 1.0) - 1)",
        "reports/test_item_values.py::test_an_alpaca_item_is_its_preference_in_percent",
    ),
    Plant(
        "two turns of a question are two observations",
        "reports/item_values.py",
        'return {"overall": Items(values, (1.0, 10.0), clusters)}',
        'return {"overall": Items(values, (1.0, 10.0))}',
        "reports/test_item_values.py::test_two_turns_of_a_question_are_one_cluster",
    ),
    Plant(
        "one order of a comparison is a verdict",
        "reports/item_values.py",
        "for v in verdicts if v.winner is not None}",
        "for v in orders if v.winner is not None}",
        "reports/test_item_values.py::test_a_head_to_head_item_needs_both_orders",
    ),
    Plant(
        "tied scores put a pair in the right order",
        "reports/item_values.py",
        "50.0 * (high == low)",
        "100.0 * (high == low)",
        "reports/test_item_values.py::test_pairs_of_replies_count_ties_as_half_and_leave_out_the_unscored",
    ),
    Plant(
        "a reply without a score ranks below every other",
        "reports/item_values.py",
        "high, low = means.get(better.key), means.get(worse.key)",
        "high, low = means.get(better.key) or 0.0, means.get(worse.key) or 0.0",
        "reports/test_item_values.py::test_pairs_of_replies_count_ties_as_half_and_leave_out_the_unscored",
    ),
    Plant(
        "runs are compared whatever judged them",
        "reports/gate/compare.py",
        "if changed := differing(a, b):",
        "if changed := differing(a, a):",
        "reports/gate/test_compare.py::test_values_under_other_conditions_are_not_subtracted",
    ),
    Plant(
        "a difference between runs has the wrong sign",
        "reports/gate/compare.py",
        "found = paired(b.items, a.items, clusters",
        "found = paired(a.items, b.items, clusters",
        "reports/gate/test_compare.py::test_a_difference_is_paired_by_item_and_counts_items_that_one_run_lacks",
    ),
    Plant(
        "the words of models are markup in the page",
        "reports/formats/html.py",
        "        autoescape=True,\n",
        "        autoescape=False,\n",
        "reports/formats/test_html.py::test_words_of_strangers_make_no_element_and_no_attribute",
    ),
    Plant(
        "the time of building is in the page",
        "reports/formats/html.py",
        "6, mtime=0)",
        "6)",
        "reports/formats/test_html.py::test_the_same_report_gives_the_same_bytes_and_another_does_not",
    ),
    Plant(
        "the judge's words are set as HTML",
        "reports/formats/templates/row.js",
        'el("pre", { dir: "auto" }, text)',
        'el("pre", { dir: "auto", innerHTML: text })',
        "reports/test_browser.py::test_hostile_words_are_only_ever_words",
    ),
]

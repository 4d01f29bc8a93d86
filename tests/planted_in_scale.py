"""Bugs planted in what makes large artifacts cheap: the ROUGE-L index, rows left on the disk."""

from __future__ import annotations

from tests.planting import Plant

SCALE_PLANTS = [
    Plant(
        "only exact repetitions are similar",
        "core/rouge_l.py",
        "            if f >= self._threshold:",
        "            if theirs == words:",
        "training/data/test_prompts.py",
    ),
    Plant(
        "a text at the threshold is not similar",
        "core/rouge_l.py",
        "if f >= self._threshold:",
        "if f > self._threshold:",
        "core/test_rouge_l.py::test_a_text_at_the_threshold_is_similar",
    ),
    Plant(
        "F is computed in another order than rouge-score's, which rounds otherwise",
        "core/rouge_l.py",
        "return 2 * precision * recall / (precision + recall)",
        "return 2 * common / (target + prediction)",
        "core/test_rouge_l.py::test_pairs_exactly_at_the_threshold_fall_on_rouge_scores_side",
    ),
    Plant(
        "one rare word too few is looked up",
        "core/rouge_l.py",
        "max(0, len(held) - least + 1)",
        "max(0, len(held) - least)",
        "core/test_rouge_l.py::test_the_texts_found_are_those_of_trying_every_one",
    ),
    Plant(
        "common words that were not looked up count as not shared",
        "core/rouge_l.py",
        "shared[found] + len(held) - len(rare)",
        "shared[found]",
        "core/test_rouge_l.py::test_a_near_duplicate_that_is_no_exact_match_is_similar",
    ),
    Plant(
        "a repeated word is indexed once",
        "core/rouge_l.py",
        "    for word in words:\n",
        "    for word in dict.fromkeys(words):\n",
        "core/test_rouge_l.py::test_words_are_counted_with_repetition",
    ),
    Plant(
        "words in any order count as a common subsequence",
        "core/rouge_l.py",
        "state = (state + moved) | (state - moved)",
        "state = state - (moved & -moved)",
        "core/test_rouge_l.py::test_rouge_l_of_hand_counted_texts",
    ),
    Plant(
        "the carry of a long text is cut at 64 bits",
        "core/rouge_l.py",
        "(state + moved) | (state - moved)",
        "((state + moved) & ((1 << 64) - 1)) | (state - moved)",
        "core/test_rouge_l.py::test_texts_longer_than_a_machine_word_are_aligned_too",
    ),
    Plant(
        "a torn line longer than what is read at once takes all lines with it",
        "core/append_log.py",
        "        end = begin\n",
        "        end = 0\n",
        "core/test_append_log.py::test_a_torn_line_of_any_length_is_cut_to_the_last_line_break",
    ),
    Plant(
        "a torn last line stays and what is appended is glued to it",
        "core/append_log.py",
        "                self._file.truncate(self._end)\n",
        "",
        "core/test_append_log.py::test_a_torn_last_line_is_cut_before_anything_is_appended",
    ),
    Plant(
        "an appended row is kept in the process and lost when it is killed",
        "core/append_log.py",
        "            self._file.flush()\n",
        "",
        "core/test_append_log.py::test_appended_lines_outlive_a_kill_9_of_the_writer",
    ),
    Plant(
        "rows at the edge of what is read ahead are cut",
        "core/logged_rows.py",
        "if not begin <= first <= last <= begin + len(window):",
        "if not begin <= first < begin + len(window):",
        "core/test_logged_rows.py::test_rows_of_any_length_are_read_whole_whatever_is_read_ahead",
    ),
    Plant(
        "rows are committed in the order in which they arrived",
        "core/logged_rows.py",
        "sorted(range(len(places)), key=keys.__getitem__)",
        "range(len(places))",
        "core/test_store.py::test_rows_are_committed_in_the_order_asked_for",
    ),
    Plant(
        "the rows of a killed run are taken unread",
        "core/logged_rows.py",
        "            row: Row = jsonl.decode(self._record, raw, self._path, number)\n"
        "            self._note(row.key, end)\n",
        '            self._note(raw["key"], end)\n',
        "core/test_logged_rows.py::test_a_damaged_row_is_named_by_its_line_when_the_log_is_opened",
    ),
]

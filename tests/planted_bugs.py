"""Bugs that others have shipped, each as a wrong function in the place of one of the product's.

The first argument of each is the right function, the others are those of the call. What is wrong is
said in terms of arguments and results, so that rewriting the function does not touch its plant.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from tests.planting import plant


def _changed(record: Any, **values: Any) -> Any:
    """Return a named tuple, dataclass or section of the configuration with other values."""
    if isinstance(record, tuple):
        return record._replace(**values)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return dataclasses.replace(record, **values)
    return record.model_copy(update=values)


# Judge output


@plant("judges.replies:parse_score", noticed_by="test_a_readable_reply_gives_the_score_it_states")
def the_first_score_counts_not_the_last(right: Any, reply: str, **limits: Any) -> Any:
    return right("".join(re.split(r"(?i)(?=score)", reply)[:2]), **limits)


@plant(
    "judges.replies:parse_score", noticed_by="test_an_unreadable_reply_gives_a_reason_and_no_number"
)
def an_unparsed_reply_scores_0(right: Any, reply: str, **limits: Any) -> Any:
    found = right(reply, **limits)
    return found if found.value is not None else _changed(found, value=0.0, unparsed=None)


@plant(
    "judges.replies:parse_score", noticed_by="test_an_unreadable_reply_gives_a_reason_and_no_number"
)
def scores_outside_the_range_are_accepted(right: Any, reply: str, **limits: Any) -> Any:
    found = right(reply, **limits)
    if found.unparsed == "out_of_range":
        return right(reply, **{**limits, "low": -math.inf, "high": math.inf})
    return found


@plant(
    "judges.pointwise:read_judgment",
    noticed_by="test_text_beside_a_too_long_prompt_is_not_read",
)
def a_prompt_too_long_for_the_judge_is_read_as_if_answered(
    right: Any, sampled: Any, *rest: Any, **named: Any
) -> Any:
    return right(_changed(sampled, finish="stop"), *rest, **named)


@plant(
    "judges.pointwise:mean_scores",
    noticed_by="test_two_of_three_replies_parse_and_their_mean_is_the_score",
)
def unreadable_draws_count_as_zero_in_the_mean(right: Any, judgments: Any) -> Any:
    return right([_changed(j, score=j.score or 0.0) for j in judgments])


@plant(
    "judges.ratings:parse_rating",
    noticed_by="test_a_rating_quoted_from_the_answer_does_not_win_over_the_judges_own",
)
def the_first_rating_counts_not_the_last(right: Any, reply: str, **rest: Any) -> Any:
    head, mark, _ = reply.partition("]]")
    return right(head + mark, **rest)


@plant(
    "judges.ratings:parse_rating",
    noticed_by="test_an_unreadable_rating_is_a_reason_and_never_a_number",
)
def a_rating_of_0_or_11_is_accepted(right: Any, reply: str, **rest: Any) -> Any:
    found = right(reply, **rest)
    if found.unparsed == "out_of_range":
        return _changed(found, value=float(re.findall(r"[0-9.]+", reply)[-1]), unparsed=None)
    return found


@plant("judges.ratings:parse_rating", noticed_by="")
def the_mt_bench_prompts_own_example_is_a_rating(right: Any, reply: str, **rest: Any) -> Any:
    return right(re.sub(r"(?i)for\s+example", "", reply), **rest)


@plant("judges.pairwise:combine", noticed_by="test_orders_that_disagree_are_a_tie")
def orders_that_disagree_are_no_tie(right: Any, ab: Any, ba: Any) -> Any:
    found = right(ab, ba)
    return _changed(found, winner=ab.winner) if found.winner is not None else found


@plant(
    "judges.pairwise:combine",
    noticed_by="test_one_unreadable_order_means_no_verdict_and_the_reason_is_kept",
)
def half_a_comparison_counts(right: Any, ab: Any, ba: Any) -> Any:
    found = right(ab, ba)
    return found if found.winner else _changed(found, winner=ab.winner or ba.winner, unparsed=None)


@plant("judges.pairwise:judge_orders", noticed_by="test_orders_that_agree_name_the_winner")
def the_swapped_orders_verdict_is_not_turned_back(right: Any, *args: Any, **named: Any) -> Any:
    for verdict in right(*args, **named):
        yield verdict.swapped() if verdict.key.endswith("/ba") else verdict


@plant(
    "judges.pairwise:judge_orders",
    noticed_by="test_a_failed_request_is_no_verdict_at_all_and_a_refusal_is_an_unread_one",
)
def a_failed_request_is_a_tie(right: Any, *args: Any, failures: Any, **named: Any) -> Any:
    from core.records import Verdict

    mine: list[Any] = []
    yield from right(*args, failures=mine, **named)
    for reply in mine:
        yield Verdict(reply.key, reply.key.rpartition("/")[0], "a", "b", "tie")


@plant("judges.pair_prompts:read_token", noticed_by="test_a_reply_without_either_token_is_unread")
def neither_token_among_the_most_probable_is_a_tie(right: Any, reply: Any) -> Any:
    found = right(reply)
    return found if found.winner else _changed(found, winner="tie", unparsed=None)


@plant("judges.health:enforce", noticed_by="test_a_broken_limit_stops_the_run_with_exit_code_1")
def a_judge_that_always_says_5_does_not_stop_the_run(right: Any, *args: Any, **named: Any) -> Any:
    from core.errors import UnhealthyJudge

    try:
        return right(*args, **named)
    except UnhealthyJudge as error:
        return [str(error)]


@plant("judges.asking:settle_failures", noticed_by="test_failures_stop_a_stage_if_none_are_allowed")
def any_number_of_failed_requests_is_accepted(right: Any, *args: Any, **named: Any) -> None:
    return None


@plant(
    "judges.backends.openai_protocol:trouble", noticed_by="test_each_error_status_means_one_thing"
)
def a_429_is_a_verdict_of_failure_at_once(right: Any, status: int, *rest: Any) -> Any:
    return "failed" if status == 429 else right(status, *rest)


@plant(
    "judges.backends.openai_protocol:trouble", noticed_by="test_each_error_status_means_one_thing"
)
def server_errors_are_not_tried_again(right: Any, status: int, *rest: Any) -> Any:
    return "failed" if status >= 500 else right(status, *rest)


@plant("judges.backends.cassette:Cassette.put", noticed_by="test_a_failure_is_never_recorded")
def a_failed_request_is_recorded(
    right: Any, self: Any, request: Any, reply: Any, **rest: Any
) -> None:
    if reply.finish == "failed":
        reply = _changed(reply, finish="stop")
    right(self, request, reply, **rest)


@plant(
    "judges.asking:Ask.identity",
    noticed_by="test_another_judge_is_asked_although_the_requests_are_the_same",
)
def one_judges_recorded_verdict_answers_for_another(right: Any, self: Any, judge: str) -> Any:
    return right(self, "judge")


@plant(
    "judges.asking:Ask.identity", noticed_by="test_equal_requests_under_several_keys_are_asked_once"
)
def repeated_draws_replay_the_first(right: Any, self: Any, judge: str) -> Any:
    return right(self, judge) | {"draw": 0}


# Self-instruction and pairs


@plant("training.data.pairs:ledger_row", noticed_by="test_a_prompt_without_a_pair_says_why")
def tied_candidates_make_a_pair(
    right: Any, prompt: Any, candidates: Any, means: Any, section: Any
) -> Any:
    return right(prompt, candidates, means, _changed(section, min_margin=-1.0))


@plant(
    "training.data.pairs:choose",
    noticed_by="test_the_highest_score_is_chosen_and_the_lowest_rejected",
)
def best_and_worst_are_exchanged(right: Any, *args: Any) -> Any:
    found = right(*args)
    return _changed(found, chosen=found.rejected, rejected=found.chosen)


@plant(
    "training.data.pairs:ledger_row",
    noticed_by="test_an_unscored_candidate_is_never_the_rejected_one",
)
def an_unscored_candidate_counts_as_0(
    right: Any, prompt: Any, candidates: Any, means: Any, section: Any
) -> Any:
    filled = {key: _changed(found, mean=found.mean or 0.0) for key, found in means.items()}
    return right(prompt, candidates, filled, section)


@plant(
    "training.data.prompts:PromptFilter.read",
    noticed_by="test_a_rejected_task_says_which_rule_it_breaks",
)
def new_tasks_are_read_from_prompt_and_completion(right: Any, self: Any, call: Any) -> Any:
    return right(self, _changed(call, text="\n".join([*call.examples, call.text])))


@plant(
    "training.data.prompts:few_shot",
    noticed_by="test_six_seeds_and_two_generated_prompts_are_shown",
)
def the_few_shot_template_grows_with_every_prompt(
    right: Any, seeds: Any, generated: Any, section: Any, **rest: Any
) -> Any:
    found = right(seeds, generated, section, **rest)
    return [*found, *(text for text in generated if text not in found)]


@plant(
    "core.rouge_l:Pool.similar",
    noticed_by="test_a_new_prompt_must_differ_from_seeds_earlier_prompts_and_those_just_kept",
)
def only_exact_repetitions_are_similar(right: Any, self: Any, text: str) -> str | None:
    found: str | None = right(self, text)
    return found if found == text else None


@plant(
    "training.data.prompts:read_tasks",
    noticed_by="test_the_last_task_of_a_cut_reply_is_not_complete",
)
def a_task_cut_by_the_token_limit_is_a_task(right: Any, reply: str, **rest: Any) -> Any:
    return [_changed(task, complete=True) for task in right(reply, **rest)]

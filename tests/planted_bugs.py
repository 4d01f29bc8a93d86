"""Bugs that others have shipped, each as a wrong function in the place of one of the product's.

The first argument of each is the right function, the others are those of the call. What is wrong is
said in terms of arguments and results, so that rewriting the function does not touch its plant.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from tests.planting import plant


def _changed(record: Any, **values: Any) -> Any:
    """Return a named tuple, dataclass or section of the configuration with other values."""
    if isinstance(record, tuple):
        return record._replace(**values)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return dataclasses.replace(record, **values)
    return record.model_copy(update=values)


# Files


@plant(
    "core.jsonl:parse",
    noticed_by="test_half_a_surrogate_pair_is_refused_where_it_is_read_not_where_it_is_written",
)
def half_a_surrogate_pair_is_taken_for_text(right: Any, raw: Any, *place: Any) -> Any:
    if b"\\ud" in raw.lower():
        return json.loads(raw)
    return right(raw, *place)


# Judge output


@plant(
    "core.thinking:after_thought",
    noticed_by="test_the_verdict_after_a_thought_is_read_and_the_one_inside_is_not",
)
def verdicts_are_read_out_of_thoughts(right: Any, text: str) -> Any:
    return _changed(right(text), text=text)


@plant(
    "core.thinking:answer_of",
    noticed_by="test_a_thought_is_kept_beside_its_answer_and_one_without_its_end_leaves_none",
)
def answers_keep_their_thought(right: Any, text: str) -> Any:
    return _changed(right(text), text=text, unclosed=False)


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
    "core.reductions:mean_scores",
    noticed_by="test_two_of_three_replies_parse_and_their_mean_is_the_score",
)
def unreadable_draws_count_as_zero_in_the_mean(right: Any, judgments: Any) -> Any:
    return right([_changed(j, score=j.score or 0.0) for j in judgments])


@plant(
    "judges.distribution:distribution",
    noticed_by="test_the_score_is_the_mean_over_the_probabilities_of_all_scores",
)
def a_distribution_is_not_normalised(right: Any, form: Any, weights: Any) -> Any:
    found = right(form, weights)
    return found._replace(mean=found.mean * found.mass)


@plant(
    "judges.distribution:read_distribution",
    noticed_by="test_a_judge_that_would_say_something_else_has_no_score",
)
def a_verdict_without_mass_counts(right: Any, reply: Any, form: Any) -> Any:
    with mock.patch("judges.distribution.LEAST_MASS", 0.0):
        return right(reply, form)


@plant(
    "core.reductions:combine",
    noticed_by="test_the_chances_of_both_orders_are_averaged",
)
def chances_that_disagree_are_a_tie(right: Any, ab: Any, ba: Any) -> Any:
    return right(_changed(ab, chance=None), _changed(ba, chance=None))


@plant(
    "judges.replies:parse_rating",
    noticed_by="test_a_rating_quoted_from_the_answer_does_not_win_over_the_judges_own",
)
def the_first_rating_counts_not_the_last(right: Any, reply: str, **rest: Any) -> Any:
    head, mark, _ = reply.partition("]]")
    return right(head + mark, **rest)


@plant(
    "judges.replies:parse_rating",
    noticed_by="test_an_unreadable_rating_is_a_reason_and_never_a_number",
)
def a_rating_of_0_or_11_is_accepted(right: Any, reply: str, **rest: Any) -> Any:
    found = right(reply, **rest)
    if found.unparsed == "out_of_range":
        return _changed(found, value=float(re.findall(r"[0-9.]+", reply)[-1]), unparsed=None)
    return found


@plant("judges.replies:parse_rating", noticed_by="test_the_prompts_own_example_is_not_a_rating")
def the_fastchat_prompts_own_example_is_a_rating(right: Any, reply: str, **rest: Any) -> Any:
    return right(re.sub(r"(?i)for\s+example", "", reply), **rest)


@plant("core.reductions:combine", noticed_by="test_orders_that_disagree_are_a_tie")
def orders_that_disagree_are_no_tie(right: Any, ab: Any, ba: Any) -> Any:
    found = right(ab, ba)
    return _changed(found, winner=ab.winner) if found.winner is not None else found


@plant(
    "core.reductions:combine",
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


@plant(
    "judges.pairwise:read_token",
    noticed_by="test_tokens_with_less_than_half_of_the_probability_are_no_verdict",
)
def neither_token_among_the_most_probable_is_a_tie(right: Any, reply: Any) -> Any:
    found = right(reply)
    return found if found.value else _changed(found, value="tie", unparsed=None)


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


@plant("engines.remote.dialects:trouble", noticed_by="test_each_error_status_means_one_thing")
def a_429_is_a_verdict_of_failure_at_once(right: Any, status: int, *rest: Any) -> Any:
    return "failed" if status == 429 else right(status, *rest)


@plant("engines.remote.dialects:trouble", noticed_by="test_each_error_status_means_one_thing")
def server_errors_are_not_tried_again(right: Any, status: int, *rest: Any) -> Any:
    return "failed" if status >= 500 else right(status, *rest)


@plant("core.secrets:redacted", noticed_by="test_a_secret_is_redacted_in_every_form")
def only_a_key_as_it_is_is_redacted(right: Any, text: str, secrets: Any) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "[secret]")
    return text


@plant(
    "judges.backends.openai_protocol:read_answer",
    noticed_by="test_an_error_inside_a_reply_is_what_it_says_and_never_an_answer",
)
def words_before_an_error_are_the_reply(right: Any, body: str) -> Any:
    return right(body.replace('"finish_reason": "error"', '"finish_reason": "stop"'))


@plant(
    "judges.backends.openai_protocol:request_body",
    noticed_by="test_top_p_is_sent_only_where_it_does_something",
)
def top_p_is_sent_beside_the_temperature(right: Any, model: str, ask: Any, adapted: Any) -> Any:
    return {"top_p": ask.top_p} | right(model, ask, adapted)


@plant(
    "engines.remote.dialects:trouble",
    noticed_by="test_moderation_is_one_refused_item_in_every_servers_words",
)
def a_prompt_refused_by_moderation_stops_the_benchmark(right: Any, status: int, error: Any) -> Any:
    found = right(status, error)
    return "stop" if found == "refused" and status == 403 else found


@plant(
    "judges.backends.cassette:Cassette.final",
    noticed_by="test_a_reply_that_its_limit_cut_is_asked_for_again_with_more_tokens_and_no_other",
)
def a_cut_reply_is_final(right: Any, cassette: Any, ask: Any, judge: str) -> Any:
    return cassette.get(ask.identity(judge))


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


@plant(
    "training.data.pairs:ledger_row",
    noticed_by="test_pairs.py::test_a_prompt_without_a_pair_says_why",
)
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


# Training


@plant(
    "training.trainers.encoding:Encoded.labels",
    noticed_by="test_labels_are_the_response_and_the_end_of_turn_token_by_token",
)
def sft_loss_falls_on_the_prompt_too(right: Any, self: Any) -> list[int]:
    return [*self.prompt_ids, *self.response_ids]


@plant(
    "training.trainers.encoding:Encoded.labels",
    noticed_by="test_labels_are_the_response_and_the_end_of_turn_token_by_token",
)
def sft_loss_falls_on_the_prompt_only(right: Any, self: Any) -> list[int]:
    return [*self.prompt_ids, *[-100] * len(self.response_ids)]


@plant(
    "training.trainers.encoding:Encoder.encode",
    noticed_by="test_labels_are_the_response_and_the_end_of_turn_token_by_token",
)
def the_end_of_turn_gets_no_loss(right: Any, *args: Any, **named: Any) -> Any:
    return right(*args, **{**named, "ended": False})


@plant(
    "training.trainers.encoding:Encoded.labels",
    noticed_by="test_labels_are_the_response_and_the_end_of_turn_token_by_token",
)
def pad_equal_to_eos_is_masked_out_of_the_labels(right: Any, self: Any) -> list[int]:
    return [*right(self)[:-1], -100]


@plant(
    "training.trainers.encoding:Encoder.encode",
    noticed_by="test_a_template_that_writes_bos_gives_exactly_one",
)
def the_rendered_prompt_is_tokenised_again(right: Any, self: Any, *args: Any, **named: Any) -> Any:
    found = right(self, *args, **named)
    if found is None:
        return None
    tokenizer = self._prompter._tokenizer
    again = tokenizer(tokenizer.decode(found.prompt_ids), add_special_tokens=True).input_ids
    return _changed(found, prompt_ids=again)


@plant(
    "training.trainers.encoding:Encoder.encode",
    noticed_by="test_truncation_never_leaves_a_row_without_response",
)
def truncation_may_remove_the_whole_response(
    right: Any, self: Any, prompt: str, response: str, max_length: int, **rest: Any
) -> Any:
    found = right(self, prompt, response, max_length, **rest)
    if found is None and response:
        return _changed(right(self, prompt, response, 10**6, **rest), response_ids=[], cut=True)
    return found


@plant(
    "training.trainers.dpo:encode_pairs",
    noticed_by="test_an_answer_cut_by_the_token_limit_does_not_learn_to_stop_there",
)
def an_answer_cut_by_the_token_limit_learns_to_stop_there(
    right: Any, encoder: Any, pairs: Any, *rest: Any
) -> Any:
    return right(encoder, [_changed(p, chosen_ended=True) for p in pairs], *rest)


@plant(
    "training.trainers.trl_loop:prepare",
    noticed_by="test_the_pad_tokens_embedding_learns_because_it_may_be_the_end_of_turn",
)
def the_pad_tokens_embedding_never_learns(right: Any, model: Any, **rest: Any) -> Any:
    found = right(model, **rest)
    embeddings = model.get_input_embeddings()
    embeddings.padding_idx = model.config.pad_token_id
    return found


@plant(
    "training.trainers.trl_loop:last_checkpoint",
    noticed_by="test_a_killed_training_resumes_from_its_checkpoint_to_the_same_weights",
)
def a_half_written_checkpoint_is_resumed_from(right: Any, work: Path) -> Path | None:
    return max(
        work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), default=None
    )


@plant(
    "training.trainers.objectives:losses",
    noticed_by="test_the_dpo_loss_with_another_reference_equals_the_one_derived_by_hand",
)
def dpo_prefers_the_rejected_answer(right: Any, section: Any, *given: Any) -> Any:
    return right(_changed(section, beta=-section.beta), *given)


@plant(
    "training.trainers.objectives:Answers.mean",
    noticed_by="test_the_first_loss_of_every_objective_is_the_one_by_hand[sigmoid_norm]",
)
def sums_are_taken_for_means_over_tokens(right: Any, self: Any, total: Any) -> Any:
    return total


@plant(
    "training.trainers.objectives:losses",
    noticed_by="test_the_first_loss_of_every_objective_is_the_one_by_hand[iterative_rpo]",
)
def the_likelihood_of_the_chosen_answer_is_lowered(right: Any, section: Any, *given: Any) -> Any:
    return right(_changed(section, nll_weight=-section.nll_weight), *given)


@plant(
    "training.trainers.objectives:losses",
    noticed_by="test_the_first_loss_of_every_objective_is_the_one_by_hand[conservative]",
)
def label_smoothing_is_ignored(right: Any, section: Any, *given: Any) -> Any:
    return right(_changed(section, label_smoothing=0.0), *given)


@plant(
    "training.trainers.objectives:token_weights",
    noticed_by="test_the_first_loss_of_every_objective_is_the_one_by_hand[ld_dpo]",
)
def the_tail_of_a_longer_answer_weighs_as_much_as_the_rest(
    right: Any, mask: Any, tail: float
) -> Any:
    return right(mask, 1.0)


@plant(
    "training.trainers.dpo:PairTrainer._weights",
    noticed_by="test_the_first_loss_of_every_objective_is_the_one_by_hand[wpo]",
)
def the_weights_of_wpo_are_left_out(right: Any, *given: Any) -> Any:
    found = right(*given)
    return None if found is None else found * 0 + 1


@plant(
    "training.trainers.dpo:encode_pairs",
    noticed_by="test_each_pair_has_its_own_confidence_even_where_another_one_is_dropped",
)
def confidences_shift_to_other_pairs_after_a_dropped_one(
    right: Any, encoder: Any, pairs: Any, *rest: Any
) -> Any:
    rows, counts = right(encoder, pairs, *rest)
    given = [pair.confidence for pair in pairs]
    shifted = [
        {**row, "confidence": one} if "confidence" in row else row
        for row, one in zip(rows, given, strict=False)
    ]
    return shifted, counts


@plant(
    "training.trainers.dpo:encode_pairs",
    noticed_by="test_the_dpo_loss_with_another_reference_equals_the_one_derived_by_hand",
)
def chosen_and_rejected_are_exchanged(right: Any, *args: Any, **named: Any) -> Any:
    rows, *rest = right(*args, **named)
    swapped = [
        row | {"chosen_ids": row["rejected_ids"], "rejected_ids": row["chosen_ids"]} for row in rows
    ]
    return (swapped, *rest)


@plant(
    "training.trainers.dpo:PairTrainer.compute_loss",
    noticed_by="test_the_first_loss_is_log_2_when_policy_and_reference_are_the_same",
)
def log_probabilities_are_off_by_one_place(
    right: Any, self: Any, model: Any, inputs: Any, *args: Any, **named: Any
) -> Any:
    shifted = inputs["completion_mask"].roll(1, dims=1)
    return right(self, model, inputs | {"completion_mask": shifted}, *args, **named)


@plant(
    "training.trainers.dpo:PairTrainer.compute_loss",
    noticed_by="test_the_dpo_loss_with_another_reference_equals_the_one_derived_by_hand",
)
def log_probabilities_include_the_prompt(
    right: Any, self: Any, model: Any, inputs: Any, *args: Any, **named: Any
) -> Any:
    whole = {"completion_mask": inputs["attention_mask"]}
    return right(self, model, inputs | whole, *args, **named)


@plant(
    "training.data.consistency:confidences",
    noticed_by="test_confidences_are_one_mean_or_each_prompts_own",
)
def consistencies_shift_to_other_prompts_after_a_skipped_one(
    right: Any, agreements: Any, kind: str
) -> Any:
    found = [row.consistency for row in agreements if row.tau is not None]
    shifted = dict(zip((row.key for row in agreements), found, strict=False))
    return right(agreements, kind) | (shifted if kind == "prompt" else {})


@plant("core.correlations:kendall_tau", noticed_by="test_tau_with_ties_by_hand")
def ties_count_as_pairs_in_no_order_at_all(right: Any, x: Any, y: Any) -> Any:
    found = right(x, y)
    if found is None:
        return None
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    untied = [sum(values[i] != values[j] for i, j in pairs) for values in (x, y)]
    return found * math.sqrt(untied[0] * untied[1]) / len(pairs)


@plant(
    "training.data.pairs:_outcome",
    noticed_by="test_pairs_that_the_implicit_reward_orders_otherwise_are_left_out",
)
def pairs_that_the_implicit_reward_contradicts_are_kept(
    right: Any, pair: Any, section: Any, learned: Any
) -> Any:
    return right(pair, section, None)


@plant(
    "training.trainers.trl_loop:prepare",
    noticed_by="test_dropout_stays_on_for_dpo_but_not_for_the_reference",
)
def dpo_trains_without_the_configured_dropout(right: Any, model: Any, **rest: Any) -> Any:
    return right(model, **{**rest, "dropout": 0.0})


@plant(
    "training.run:Run.named_model",
    noticed_by="test_dpo_starts_from_and_is_held_to_the_model_that_made_the_pairs",
)
def the_reference_is_m0_whatever_made_the_data(right: Any, self: Any, name: str, k: int) -> Any:
    return right(self, "M0", k)


@plant(
    "engines.models:not_finite",
    noticed_by="test_one_weight_that_is_no_number_is_enough_to_refuse_a_model",
)
def weights_that_are_nan_are_evaluated(right: Any, model: Any) -> None:
    return None


# Evaluation


@plant(
    "core.hashing:model_digest",
    noticed_by="test_the_fingerprint_changes_with_a_weight_byte_and_with_the_dtype",
)
def the_cache_key_is_the_models_name(right: Any, folder: Path, *args: Any) -> str:
    return folder.name


@plant(
    "engines.cached:CachedEngine._key", noticed_by="test_other_weights_or_decoding_share_nothing"
)
def model_as_cached_answers_are_served_for_model_b(right: Any, self: Any, *args: Any) -> Any:
    nobody = copy.copy(self)
    nobody.fingerprint = ""
    return right(nobody, *args)


@plant(
    "engines.cached:CachedEngine._key", noticed_by="test_other_weights_or_decoding_share_nothing"
)
def cached_answers_ignore_the_decoding(
    right: Any, self: Any, request: Any, decoding: Any, draw: int
) -> Any:
    plain = _changed(decoding, temperature=0.0, top_p=1.0, max_new_tokens=1, seed=0)
    return right(self, _changed(request, temperature=None), plain, draw)


@plant("engines.cached:CachedEngine._key", noticed_by="test_only_the_missing_draws_are_sampled")
def all_draws_of_a_prompt_are_served_the_first(
    right: Any, self: Any, request: Any, decoding: Any, draw: int
) -> Any:
    return right(self, request, decoding, 0)


@plant(
    "engines.hf.stock_states:StockStates.step",
    noticed_by="test_a_model_that_cannot_share_computes_the_same",
)
def padding_is_attended_to_in_a_batch(right: Any, self: Any, tokens: Any) -> Any:
    self._mask = self._mask.new_ones(self._mask.shape)
    return right(self, tokens)


@plant(
    "engines.engine:draw_seed", noticed_by="test_the_request_says_everything_that_decides_a_draw"
)
def all_draws_of_a_prompt_have_one_seed(right: Any, decoding: Any, messages: Any, draw: int) -> Any:
    return right(decoding, messages, 0)


@plant(
    "engines.hf.sampling:uniforms",
    noticed_by="test_a_draw_does_not_depend_on_its_neighbours_order_or_batch_size",
)
def draws_share_their_random_numbers_with_the_batch(right: Any, seeds: Any, steps: int) -> Any:
    return right(list(range(len(seeds))), steps)


@plant(
    "engines.draws:cut_at_stop",
    noticed_by="test_a_text_is_cut_before_the_stop_string_that_comes_first",
)
def a_generation_goes_on_behind_its_stop_string(right: Any, text: str, stop: Any) -> Any:
    return text, right(text, stop)[1]


@plant(
    "engines.control_tokens:ControlTokens.parts",
    noticed_by="test_only_the_template_makes_control_tokens",
)
def an_answer_that_spells_a_control_token_forges_a_turn(right: Any, self: Any, text: str) -> Any:
    return [text]


@plant(
    "engines.hf.ways:_fault",
    noticed_by="test_sharing_is_refused_where_attention_is_replaced_silently",
)
def attention_is_replaced_unchecked(right: Any, *args: Any) -> str:
    return ""


@plant(
    "engines.prompting:Prompter.encode", noticed_by="test_the_beginning_of_text_token_comes_once"
)
def raw_text_gets_the_beginning_of_text_twice(right: Any, self: Any, text: str) -> Any:
    begin = self._tokenizer.bos_token_id
    return [*([begin] if begin is not None else []), *right(self, text)]


@plant(
    "engines.hf.scoring:_fit",
    noticed_by="test_a_context_too_long_loses_its_beginning_as_in_lm_eval",
)
def a_context_too_long_for_the_window_loses_its_end(right: Any, pair: Any, window: int) -> Any:
    found = right(pair, window)
    return _changed(found, context=pair.context[: len(found.context)])


@plant(
    "evaluation.alpaca_eval.files:require_one_source",
    noticed_by="test_scores.py::test_judges_are_never_mixed_in_one_table",
)
def two_annotators_are_mixed_in_one_table(right: Any, *args: Any) -> None:
    return None


@plant(
    "evaluation.alpaca_eval.scores:report",
    noticed_by="test_a_truncated_run_is_reported_with_what_it_lacks",
)
def a_truncated_file_looks_whole(right: Any, *args: Any, **named: Any) -> Any:
    found = right(*args, **named)
    return found | {"n_missing": found["n_missing"] - found["n_absent"]}


@plant(
    "evaluation.alpaca_eval.length_control:length_controlled",
    noticed_by="test_dropping_rows_does_not_shift_the_difficulties_of_the_others",
)
def a_missing_row_shifts_the_difficulties_of_later_ones(
    right: Any, *args: Any, **named: Any
) -> Any:
    return right(*args, **{**named, "by_row": True})


@plant(
    "evaluation.alpaca_eval.length_control:_why_not",
    noticed_by="test_eight_prompts_have_no_length_controlled_win_rate",
)
def eight_prompts_have_a_length_controlled_win_rate(right: Any, rows: Any, variant: Any) -> Any:
    return right(rows * 200, variant)


@plant(
    "evaluation.alpaca_eval.length_control:_why_no_fit",
    noticed_by="test_what_cross_validation_leaves_at_an_end_is_missing",
)
def a_fit_at_the_end_of_its_range_is_a_number(right: Any, fit: Any) -> Any:
    return None


@plant(
    "judges.pairwise:verdict_mass",
    noticed_by="test_tokens_with_less_than_half_of_the_probability_are_no_verdict",
)
def the_less_improbable_token_is_a_verdict(right: Any, *args: Any) -> Any:
    return None if right(*args) is None else 1.0


@plant(
    "evaluation.alpaca_eval.length_control:length_controlled",
    noticed_by="test_the_same_seed_gives_the_same_interval",
)
def the_length_controls_bootstrap_is_not_seeded(right: Any, *args: Any, **named: Any) -> Any:
    import secrets

    return right(*args, **{**named, "seed": secrets.randbits(32)})


@plant(
    "evaluation.alpaca_eval.scores:win_rate",
    noticed_by="test_a_missing_preference_lowers_n_and_is_no_loss",
)
def a_comparison_without_a_preference_is_lost(right: Any, annotations: Any, **rest: Any) -> Any:
    lost = [_changed(a, preference=1.0) if a.preference is None else a for a in annotations]
    return right(lost, **rest)


@plant(
    "evaluation.alpaca_eval.annotator:PackageAnnotator.read",
    noticed_by="test_the_presentation_order_is_the_seeded_one_and_is_undone",
)
def the_presentation_order_is_not_undone(right: Any, self: Any, reply: Any) -> Any:
    found = right(self, reply)
    if found.preference is None:
        return found
    switched = bool(self._frame.loc[reply.key].get("is_switched_outputs", False))
    return _changed(found, preference=3 - found.preference) if switched else found


@plant(
    "evaluation.mt_bench.scores:scores",
    noticed_by="test_what_has_no_score_is_left_out_of_the_mean_and_counted_with_its_reason",
)
def unparsed_grades_are_averaged_as_minus_1(right: Any, judgments: Any, **rest: Any) -> Any:
    return right(
        [_changed(j, score=-1.0 if j.score is None else j.score) for j in judgments], **rest
    )


@plant(
    "evaluation.mt_bench.benchmark:_conversation",
    noticed_by="test_the_second_turn_sees_the_models_own_first_answer",
)
def turn_2_is_asked_without_the_models_turn_1(right: Any, *args: Any) -> Any:
    return [m | {"content": ""} if m["role"] == "assistant" else m for m in right(*args)]


@plant(
    "evaluation.mt_bench.questions:load_questions",
    noticed_by="test_the_package_holds_ten_questions_of_each_of_eight_categories",
)
def math_is_graded_without_reference_answers(right: Any, *args: Any) -> Any:
    return [_changed(question, references=None) for question in right(*args)]


@plant("evaluation.nlp.tasks:headline", noticed_by="test_the_metric_of_the_paper_is_marked")
def hellaswags_headline_is_acc_not_acc_norm(right: Any, task: str) -> Any:
    return "acc" if task == "hellaswag" else right(task)


@plant(
    "evaluation.agreement.order_metrics:measure", noticed_by="test_a_missing_score_is_not_a_zero"
)
def an_unscored_reply_has_0_points(right: Any, prompts: Any, **rest: Any) -> Any:
    filled = [p.with_scores([score or 0.0 for _, score in p.replies]) for p in prompts]
    return right(filled, **rest)


# Statistics


@plant(
    "core.intervals:cluster_sums",
    noticed_by="test_repeated_rows_in_their_clusters_leave_the_standard_error_alone",
)
def both_orders_or_turns_of_one_item_are_two_samples(
    right: Any, values: Any, clusters: Any = None
) -> Any:
    return right(values)


@plant(
    "core.paired:sign_flip",
    noticed_by="test_sampled_sign_flips_agree_with_the_coin_and_are_never_0",
)
def sampled_sign_flips_are_not_seeded(right: Any, *args: Any, **named: Any) -> Any:
    import secrets

    return right(*args, **{**named, "seed": secrets.randbits(32)})


@plant(
    "core.intervals:wilson",
    noticed_by="test_wilson_has_a_width_at_the_ends_and_nothing_to_say_of_nothing",
)
def a_share_of_0_or_1_has_an_interval_without_width(
    right: Any, successes: float, n: int, **rest: Any
) -> Any:
    found = right(successes, n, **rest)
    if found is None or 0 < successes < n:
        return found
    return _changed(found, low=successes / n, high=successes / n)


@plant(
    "core.intervals:mean_interval",
    noticed_by="test_all_equal_scores_of_few_questions_are_not_certain",
)
def equal_grades_have_an_interval_without_width(
    right: Any, values: Any, *args: Any, **named: Any
) -> Any:
    found = right(values, *args, **named)
    return _changed(found, low=values[0], high=values[0]) if len({*values}) == 1 else found


@plant("core.paired:tango", noticed_by="test_items_without_a_difference_leave_room_for_one")
def models_that_agree_on_every_item_are_certainly_equal(
    right: Any, gained: int, lost: int, n: int
) -> Any:
    found = right(gained, lost, n)
    return found if gained + lost else _changed(found, low=0.0, high=0.0)


@plant(
    "core.paired:compare", noticed_by="test_an_item_that_one_model_lacks_is_counted_and_not_a_zero"
)
def models_are_compared_on_different_items(right: Any, a: Any, b: Any, **rest: Any) -> Any:
    found = right(a, b, **rest)
    if found.difference is None:
        return found
    return _changed(found, difference=sum(a.values()) / len(a) - sum(b.values()) / len(b))


@plant("core.paired:holm", noticed_by="test_holm_by_hand")
def holms_correction_is_left_out(right: Any, p_values: Any) -> list[float]:
    return list(p_values)


@plant(
    "reports.gate.pairs:pair_up",
    noticed_by="test_a_candidate_whose_bad_items_became_unreadable_is_not_compared",
)
def the_gate_passes_because_bad_items_became_unreadable(
    right: Any, *args: Any, **named: Any
) -> Any:
    return _changed(right(*args, **{**named, "max_lost": 1.0}), problems=())


@plant(
    "reports.published.comparable:imported_reasons",
    noticed_by="test_an_imported_file_may_lack_two_rows_but_not_most",
)
def published_values_stand_beside_a_file_that_lacks_most_rows(
    right: Any, *args: Any
) -> tuple[str, ...]:
    return tuple(clause for clause in right(*args) if " of " not in clause)


@plant(
    "reports.published.comparable:incomplete",
    noticed_by="test_a_runs_own_score_may_lack_1_percent_of_its_items_but_not_most",
)
def published_values_stand_beside_own_scores_that_lack_most_items(*_: Any) -> tuple[str, ...]:
    return ()


@plant(
    "evaluation.agreement.order_metrics:measure",
    noticed_by="test_exact_match_of_143_beside_accuracy_817_needs_ties_to_be_wrong",
)
def exact_match_drops_the_instructions_with_a_tie(right: Any, *args: Any, **named: Any) -> Any:
    found = right(*args, **named)
    return found | {"exact_match/ties_wrong": found["exact_match/ties_excluded"]}


@plant(
    "evaluation.nlp.tasks:_as_in_llama",
    noticed_by="test_llamas_openbookqa_divides_by_the_probability_after_answer",
)
def openbookqa_is_normalised_by_length_as_if_that_were_llamas(
    right: Any, engine: Any, task: str, items: list[Any]
) -> list[Any]:
    found = right(engine, task, items)
    return [
        _changed(one, metrics=one.metrics | {"acc_bayes": one.metrics["acc_norm"]}) for one in found
    ]


@plant(
    "evaluation.loop_checks.contamination:equal_texts",
    noticed_by="test_the_same_text_is_flagged_in_any_script_and_at_any_length",
)
def a_copied_item_is_found_in_latin_letters_only(right: Any, prompts: Any, items: Any) -> Any:
    return [one for one in right(prompts, items) if prompts[one.prompt].isascii()]


@plant(
    "reports.sections.loop.judging:same_judge",
    noticed_by="test_a_judge_compared_with_itself_is_its_reliability_and_no_comparison",
)
def a_judge_compared_with_itself_confirms_itself(*_: Any) -> bool:
    return False


@plant(
    "reports.published.condition_differences:base_model",
    noticed_by="test_another_base_model_is_named_without_its_folder",
)
def published_values_stand_beside_another_base_model(right: Any, *args: Any) -> Iterator[str]:
    return iter(())


# Judges of candidates


@plant(
    "engines.reward_model:RewardModel._forward",
    noticed_by="test_a_batch_has_the_scores_of_single_conversations",
)
def rewards_of_a_batch_are_read_at_its_last_column(
    right: Any, self: Any, rows: Any, longer: int = 0
) -> Any:
    """Padding on the left as for sampling, or the score taken where only the longest row ends."""
    width = max(map(len, rows))
    return right(self, [[*row, *[row[-1]] * (width - len(row))] for row in rows], longer)


@plant(
    "judges.verifiers.final_answer:check_final",
    noticed_by="test_the_final_answer_counts_and_numbers_by_value",
)
def an_answer_is_right_if_the_wanted_one_occurs_anywhere(
    right: Any, response: str, wanted: str
) -> Any:
    return _changed(right(response, wanted), right=wanted in response)


@plant(
    "judges.meta.battles:position_weights",
    noticed_by="test_the_position_weights_of_the_example",
)
def wins_of_the_favoured_position_count_more(right: Any, verdicts: Any) -> Any:
    found = right(verdicts)
    return found and _changed(found, first=found.second, second=found.first)


@plant(
    "judges.meta.battles:won_first",
    noticed_by="test_the_battle_matrix_of_the_example",
)
def the_winner_of_the_second_order_is_taken_from_the_side_that_was_shown(
    _right: Any, verdict: Any
) -> Any:
    return verdict.winner == "A" if verdict.winner in ("A", "B") else None

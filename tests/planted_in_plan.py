"""Bugs of the plan's arithmetic to be planted by tests/test_planted_bugs.py, one at a time."""

from __future__ import annotations

from tests.planting import Plant

PLAN_PLANTS = [
    Plant(
        "the cache is counted for all heads, not for the key heads",
        "training/plan/shapes.py",
        "return self.kv_heads * self.per_head",
        "return self.heads * self.per_head",
        "training/plan/test_shapes.py::test_the_cache_of_one_token_by_hand",
    ),
    Plant(
        "a tied output projection counts twice",
        "training/plan/shapes.py",
        "(1 if self.tied else 2)",
        "2",
        "training/plan/test_shapes.py::test_parameters_counted_from_the_shape_are_the_published_total",
    ),
    Plant(
        "an unknown model is taken for a known one",
        "training/plan/shapes.py",
        "return known or Unknown(reason)",
        'return known or KNOWN["llama-2-7b-hf"]',
        "training/plan/test_shapes.py::test_an_unknown_model_has_no_shape_rather_than_a_guess",
    ),
    Plant(
        "Adam has one moment",
        "training/plan/memory.py",
        "_MOMENTS = 2 * _FP32",
        "_MOMENTS = _FP32",
        "training/plan/test_memory.py::test_one_gpu_holds_eighteen_bytes_per_parameter",
    ),
    Plant(
        "copies of a model on several GPUs are taken for shares of it",
        "training/plan/memory.py",
        "shards = setup.gpus if setup.sharded else 1",
        "shards = setup.gpus",
        "training/plan/test_memory.py::test_several_gpus_that_share_nothing_need_as_much_as_one",
    ),
    Plant(
        "a pair is one sequence",
        "training/plan/memory.py",
        "setup.rows * setup.answers * setup.max_length",
        "setup.rows * setup.max_length",
        "training/plan/test_memory.py::test_llama_2_70b_on_sixteen_gpus_by_hand",
    ),
    Plant(
        "training is no dearer than reading",
        "training/plan/costs.py",
        "_FORWARD + (_FROZEN_BACKWARD if setup.adapters else _BACKWARD)",
        "_FORWARD",
        "training/plan/test_costs.py::test_an_hour_of_training_by_hand",
    ),
    Plant(
        "the weights that sharded training fetches cost no time",
        "training/plan/costs.py",
        "max(arithmetic, work.trained_rows / together * gathers / link)",
        "arithmetic",
        "training/plan/test_costs.py::test_sharded_training_takes_at_least_as_long_as_its_traffic",
    ),
    Plant(
        "idle GPUs are free",
        "training/plan/costs.py",
        "hours * plan.gpus * plan.gpu_hour_usd",
        "hours * plan.gpu_hour_usd",
        "training/plan/test_costs.py::test_money_is_for_all_gpus_while_a_stage_runs",
    ),
    Plant(
        "draws are judged once",
        "training/plan/work.py",
        "answers * draws * lengths.judgment",
        "answers * lengths.judgment",
        "training/plan/test_work.py::test_draws_of_one_prompt_share_its_reading",
    ),
    Plant(
        "the upper bound is the mean",
        "training/plan/work.py",
        "        judgment=config.judge.max_new_tokens,\n",
        "",
        "training/plan/test_work.py::test_the_upper_bound_is_every_limit_on_new_tokens",
    ),
    Plant(
        "one presentation order is quoted",
        "training/plan/judge.py",
        "matches * section.limit * _ORDERS",
        "matches * section.limit",
        "training/plan/test_judge.py::test_the_papers_evaluation_by_hand",
    ),
]

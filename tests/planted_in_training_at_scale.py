"""Bugs planted in training by several processes, launching and adapters."""

from __future__ import annotations

from tests.planting import Plant

LAUNCH = "training/launch/test_launch.py"
LORA = "training/test_lora.py"

TRAINING_AT_SCALE_PLANTS = [
    Plant(
        "an uneven last turn repeats rows instead of adding empty ones",
        "training/launch/processes.py",
        "            yield self._rows\n",
        "            yield 0\n",
        f"{LAUNCH}::test_each_step_holds_the_rows_of_one_process_and_only_empty_ones_besides",
    ),
    Plant(
        "every epoch has the first one's order",
        "training/launch/processes.py",
        "        self._order.set_epoch(epoch)\n",
        "        self._order.set_epoch(0)\n",
        f"{LAUNCH}::test_each_step_holds_the_rows_of_one_process_and_only_empty_ones_besides",
    ),
    Plant(
        "several processes multiply the global batch",
        "training/launch/processes.py",
        "together = section.micro_batch_size * count",
        "together = section.micro_batch_size",
        f"{LAUNCH}::test_a_batch_that_cannot_be_dealt_out_evenly_is_refused_before_training",
    ),
    Plant(
        "empty pairs dilute the loss of the others",
        "training/trainers/dpo.py",
        "return (size * loss - (size - pairs) * empty) / pairs",
        "return loss",
        f"{LAUNCH}::test_empty_pairs_leave_the_mean_loss_of_the_others",
    ),
    Plant(
        "the accelerate file's precision overrides the run's",
        "training/launch/command.py",
        '        "--mixed_precision", "bf16" if precision == "bf16" else "no",\n',
        "",
        f"{LAUNCH}::test_the_runs_precision_counts_and_not_the_files",
    ),
    Plant(
        "every process of FSDP loads the whole model",
        "configs/accelerate/fsdp-8.yaml",
        "fsdp_cpu_ram_efficient_loading: true",
        "fsdp_cpu_ram_efficient_loading: false",
        f"{LAUNCH}::test_an_fsdp_file_gives_accelerate_what_large_models_need",
    ),
    Plant(
        "an error of the processes loses its type",
        "training/launch/launch.py",
        "            if kind is not None:\n",
        "            if kind is None:\n",
        f"{LAUNCH}::test_an_expected_error_keeps_its_type_and_an_unexpected_one_its_name",
    ),
    Plant(
        "a launch goes on after the judge said stop",
        "training/launch/launch.py",
        "return judge.judge_checkpoint(weights_of(checkpoint), step) or last",
        "return judge.judge_checkpoint(weights_of(checkpoint), step) and last",
        f"{LAUNCH}::test_training_pauses_for_the_judge_and_stops_where_it_says",
    ),
    Plant(
        "the judge sees adapters instead of a model",
        "training/trainers/weights.py",
        "return whole if whole.is_dir() else checkpoint",
        "return checkpoint",
        f"{LORA}::test_judged_checkpoints_of_adapters_are_whole_models",
    ),
    Plant(
        "adapters do not belong to a model's key",
        "training/models.py",
        'return ("lora",) if run.config.lora.enabled else ()',
        "return ()",
        f"{LORA}::test_adapters_belong_to_the_key_of_a_model_only_where_they_are_used",
    ),
    Plant(
        "adapters are trained on an output layer that never learns",
        "core/config.py",
        '        if not self.target_modules or "lm_head" in self.target_modules:\n',
        "        if not self.target_modules:\n",
        f"{LORA}::test_an_adapter_on_the_output_layer_is_refused",
    ),
]

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.config import (
    Config,
    DpoSection,
    EarlyStoppingSection,
    EngineSection,
    LaunchSection,
    LoraSection,
    ModelSection,
    PlanSection,
    PromptsSection,
    RaySection,
    SftSection,
)
from core.errors import ConfigError
from training.plan.fit import Fit, Processes, Samplers, fits, processes_of, samplers, training_setup
from training.plan.memory import Memory, TrainingSetup
from training.plan.shapes import KNOWN, Unknown

if TYPE_CHECKING:
    from pathlib import Path

EIGHT = KNOWN["meta-llama-3-8b"]


def config(base: str = "meta-llama/Meta-Llama-3-8B", **more: Any) -> Config:
    sections: dict[str, Any] = {
        "plan": PlanSection(gpus=8, gpu_memory_gb=80, memory_reserve=0.1),
        "engine": EngineSection(kind="vllm"),
        "launch": LaunchSection(config="fsdp-8"),
    }
    return Config(model=ModelSection(base=base), **(sections | more))


def fit(settings: Config, place: int, k: int = 2) -> Fit:
    found = list(fits(settings, k).values())[place]
    assert isinstance(found, Fit), str(found)
    return found


@pytest.mark.parametrize(
    ("name", "processes"),
    [
        ("none", Processes(1, sharded=False)),
        ("one-gpu", Processes(1, sharded=False)),
        ("fsdp-8", Processes(8, sharded=True)),
        ("fsdp-two-nodes", Processes(16, sharded=True)),
    ],
)
def test_shipped_launch_configurations_say_how_many_train(name: str, processes: Processes) -> None:
    assert processes_of(LaunchSection(config=name)) == processes


def test_the_number_of_processes_can_be_set() -> None:
    assert processes_of(LaunchSection(config="fsdp-8", processes=4)) == Processes(4, sharded=True)
    # One process has nobody to share with.
    assert processes_of(LaunchSection(config="fsdp-8", processes=1)) == Processes(1, sharded=False)


def test_a_launch_on_cpus_is_not_taken_for_gpus() -> None:
    with pytest.raises(Unknown, match="no GPU trains"):
        processes_of(LaunchSection(config="ddp-cpu"))
    found = fits(config(launch=LaunchSection(config="fsdp-cpu")), 1)["SFT baseline, M1"]
    assert isinstance(found, Unknown)


def test_a_file_that_is_not_accelerates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; shipped are none, .*fsdp-8"):
        processes_of(LaunchSection(config="fsdp-9"))
    path = tmp_path / "mine.yaml"
    path.write_text("num_processes: 4\n")
    with pytest.raises(ConfigError, match="not an accelerate configuration"):
        processes_of(LaunchSection(config=str(path)))


def test_a_setup_is_read_from_launch_lora_and_the_stages_section() -> None:
    settings = config(
        dpo=DpoSection(micro_batch_size=2, gradient_checkpointing=True, reference="m1"),
        lora=LoraSection(enabled=True, r=8, target_modules=("q_proj",)),
    )
    adapters = EIGHT.lora_parameters(8, ("q_proj",))
    assert training_setup(settings, settings.dpo, EIGHT) == TrainingSetup(
        8, True, 2, 2, 2048, True, True, adapters, second_reference=True
    )
    everything = config(lora=LoraSection(enabled=True))
    setup = training_setup(everything, everything.sft, EIGHT)
    assert setup.adapters == EIGHT.lora_parameters(16, tuple(EIGHT.matrices))
    assert (setup.answers, setup.second_reference) == (1, False)


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (EngineSection(), Samplers(1, 1, 1.0)),
        (EngineSection(kind="vllm", tensor_parallel=4), Samplers(4, 4, 1.0)),
        (
            EngineSection(
                kind="vllm", tensor_parallel=8, ray=RaySection(workers=2, gpus_per_worker=8)
            ),
            Samplers(16, 8, 1.0),
        ),
        (EngineSection(ray=RaySection(workers=4, gpus_per_worker=0.5)), Samplers(2.0, 1, 0.5)),
        (EngineSection(kind="openai", base_urls=("http://a:1/v1",)), Samplers(8, 1, 1.0)),
    ],
)
def test_samplers_are_read_from_the_engine(engine: EngineSection, expected: Samplers) -> None:
    assert samplers(config(engine=engine)) == expected


@pytest.mark.parametrize(
    "engine", [EngineSection(device="cpu"), EngineSection(ray=RaySection(workers=2))]
)
def test_sampling_without_gpus_has_no_samplers(engine: EngineSection) -> None:
    with pytest.raises(Unknown, match="no GPU samples"):
        samplers(config(engine=engine))


def test_llama_3_8b_fits_eight_gpus() -> None:
    # 16 x 8.030e9 / 8 = 16.06 GB, copies 5.51 GB, activations of one sequence 15.85 GB.
    found = fit(config(), 0)
    assert found.fits
    assert found.verdict == "fits: needs 37.4 of 72.0 GB on each GPU"
    # A pair is two sequences: 15.85 GB more.
    assert fit(config(), 1).verdict == "fits: needs 53.3 of 72.0 GB on each GPU"


def test_one_gpu_is_too_small_for_llama_3_8b() -> None:
    # One GPU: 18 x 8.03 = 144.5 GB before activations.
    found = fit(config(launch=LaunchSection(config="one-gpu")), 0)
    assert not found.fits
    assert found.verdict == "does not fit: needs 160.4 of 72.0 GB on each GPU"


def test_seventy_billion_do_not_fit_sixteen_gpus_of_80_gb() -> None:
    settings = config(
        "meta-llama/Llama-2-70b-hf",
        plan=PlanSection(gpus=16, gpu_memory_gb=80),
        launch=LaunchSection(config="fsdp-two-nodes"),
        dpo=DpoSection(gradient_checkpointing=True),
    )
    # 88.9 GB of 72 (test_memory.py); 69 + 7.2 GB stay whatever the length.
    found = fit(settings, 1)
    assert found.verdict == "does not fit: needs 88.9 of 72.0 GB on each GPU"


def test_a_batch_that_cannot_be_split_evenly_cannot_run() -> None:
    found = fit(config(sft=SftSection(micro_batch_size=4)), 0)
    assert not found.fits
    assert found.verdict.startswith(
        "cannot run: batch_size 16 is no multiple of 8 GPUs x micro_batch_size 4; "
    )


def test_more_gpus_than_plan_gpus_do_not_fit() -> None:
    found = fit(config(plan=PlanSection(gpus=4)), 0)
    assert not found.fits
    assert found.verdict.startswith("needs 8 GPUs, and plan.gpus is 4; ")


def test_vllm_fits_if_the_longest_request_does_and_says_how_many_do() -> None:
    found = fit(config(), 2)
    # 72 GB less 16.06 GB of weights, at 131,072 bytes a token: 426,784 tokens. The longest request
    # is judging: 437 + 36 + 1,024 + 256 = 1,753 tokens.
    assert found.verdict == (
        "fits: needs 16.3 of 72.0 GB on each GPU, and leaves a cache for 426,784 tokens, 243 of "
        "the longest requests (1,753 each)"
    )


def test_a_model_that_is_too_large_to_sample_does_not_fit() -> None:
    # 138 GB of weights.
    assert not fit(config("Llama-2-70b-hf"), 2).fits


def test_transformers_holds_two_models_and_the_batch_it_is_allowed() -> None:
    found = fit(config(engine=EngineSection(max_batch_tokens=100_000)), 2)
    # 2 x 16.06 GB and 100,000 x 131,072 bytes.
    assert found.parts.needed == 4 * 8_030_261_248 + 100_000 * 131_072


def test_iterations_that_are_trained_otherwise_have_lines_of_their_own() -> None:
    own = {3: {"dpo": {"micro_batch_size": 2}}, 4: {"improvement": {"method": "positive_only"}}}
    settings = config(iteration=own)
    titles = [title for title in fits(settings, 5) if "sampling" not in title]
    assert titles == ["SFT baseline, M1", "DPO: M2, M5", "DPO: M3", "SFT: M4"]
    # The longest request of any iteration counts: 1,024 tokens of answer more.
    longer = config(iteration={3: {"candidates": {"max_new_tokens": 2048}}})
    assert "(1,753 each)" in fit(longer, 2, 2).verdict
    assert "(2,777 each)" in fit(longer, 2, 3).verdict


def test_engines_that_judge_checkpoints_are_kept_by_the_training_process() -> None:
    engine, here = EngineSection(max_batch_tokens=100_000), LaunchSection()
    sampling = 4 * 8_030_261_248 + 100_000 * 131_072

    def kept(place: int, **more: Any) -> float:
        parts = fit(config(**({"engine": engine, "launch": here} | more)), place).parts
        assert isinstance(parts, Memory)
        assert parts.needed == sum(parts)
        return parts.engines

    assert kept(0) == 0  # SFT compares no checkpoints
    assert kept(1) == sampling
    unjudged = DpoSection(early_stopping=EarlyStoppingSection(enabled=False))
    assert kept(1, dpo=unjudged) == 0
    # A launched process ends before checkpoints are compared; vLLM's training is always launched.
    assert kept(1, launch=LaunchSection(config="one-gpu")) == 0
    assert kept(1, engine=EngineSection(kind="vllm")) == 0
    assert kept(1, engine=EngineSection(device="cpu")) == 0


def test_models_that_write_or_judge_are_listed_once_each() -> None:
    stopping = EarlyStoppingSection(judge="models/Llama-2-7b-chat-hf")
    settings = config(
        prompts=PromptsSection(generator="models/Llama-2-7b-chat-hf"),
        dpo=DpoSection(early_stopping=stopping),
    )
    assert list(fits(settings, 2))[2:] == [
        "sampling: the run's models",
        "sampling: prompt writer, checkpoint judge",
    ]
    # M1 needs neither; M0 and the run's other models have one shape.
    assert len(fits(settings, 1)) == 2
    assert len(fits(config(), 2)) == 3


def test_unknown_shapes_and_servers_are_unknown() -> None:
    found = fits(config("someone/else"), 2)
    assert all(isinstance(item, Unknown) for item in found.values())
    served = config(engine=EngineSection(kind="openai", base_urls=("http://a:1/v1",)))
    assert isinstance(fits(served, 2)["sampling: the run's models"], Unknown)

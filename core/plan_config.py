"""The plan part of the configuration: assumptions of a dry run. Nothing else reads it."""

from __future__ import annotations

from core.sections import Count, Probability, Rate, Section, Share, Tally


class PlanSection(Section):
    """Assumptions of `--dry-run`: hardware, throughput, mean lengths. In no artifact's key.

    Lengths are in tokens, at four characters a token where only characters are known. docs/plan.md
    has the formulas.
    """

    gpus: Tally = 0
    """GPUs of the machines the run has; 0: GPU memory, hours and cost are not estimated."""
    gpu_memory_gb: Rate = 80.0
    """Memory of one GPU in GB of 10^9 bytes (H100 SXM: 80)."""
    memory_reserve: Share = 0.1
    """Share of it kept for the CUDA context, fragmentation, communication and logits in tiles."""
    peak_tflops: Rate = 989.0
    """Peak of one GPU, bf16, dense, 10^12 operations/s (data sheet of H100 and H200 SXM: 989)."""
    training_use: Probability = 0.3
    """Share of the peak that training reaches, recomputed activations counted as work (assumed;
    the Llama 3 paper reports 0.38 to 0.43 without recomputation, on far larger batches)."""
    link_gb_per_s: Rate = 50.0
    """Not used: accepted for older files."""
    prefill_use: Probability = 0.4
    """Share of the peak reached when prompts are read (assumed)."""
    sampling_tokens_per_s: Rate | None = None
    """New tokens per second and GPU when sampling, None: not stated. It depends on model and batch:
    measure it on the machine."""
    gpu_hour_usd: Rate | None = None
    """US dollars of one GPU for one hour, None: not stated."""
    prompt_tokens: Rate = 36.0
    """Mean instruction (144 characters: English first turns of Open Assistant 2)."""
    seed_reply_tokens: Rate = 282.0
    """Mean IFT reply (1,129 characters: rank-0 replies there)."""
    ranked_reply_tokens: Rate = 217.0
    """Mean human-ranked reply (868 characters: all ranked replies there)."""
    answer_tokens: Rate = 388.0
    """Mean answer of a model (1,552 characters: M2 on AlpacaEval, paper's section 3.2)."""
    judgment_tokens: Rate = 140.0
    """Mean judge reply (the rubric asks for up to 100 words, then the score)."""
    call_tokens: Rate = 120.0
    """Mean reply of the prompt writer (three tasks of mean length with their numbers)."""
    kept_per_call: Rate = 1.0
    """New prompts that pass the filters, per call of the prompt writer (assumed)."""
    pairs_per_prompt: Probability = 1.0
    """Share of prompts that give a preference pair (1: the most there can be)."""
    ranked_prompts: Count | None = None
    """Prompts with ranked replies in eft.source, None: not stated."""
    replies_per_prompt: Rate = 2.85
    """Mean ranked replies of such a prompt (paper: 2.85)."""

"""Which stages of iterations 0 and 1 a run makes: all, or with a given M1 those that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.stages import SFT_BASELINE, Ref, Stage, model_ref, stages_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.config import Config

IFT, RANKED, EFT = Ref(1, Stage.IFT), Ref(1, Stage.RANKED), Ref(1, Stage.EFT)
JUDGED, CONSTRUCTED = Ref(1, Stage.EFT_JUDGMENTS), Ref(1, Stage.EFT_CONSTRUCTED)
PROBES = (Ref(0, Stage.PROBE), Ref(1, Stage.PROBE))

_ALSO = {"base": model_ref(0), "ift": IFT, "ranked": RANKED, "sft": SFT_BASELINE}
_NAMED = {"base": model_ref(0), "M0": model_ref(0), "sft": SFT_BASELINE}


def seed_stages(config: Config) -> frozenset[Ref]:
    """Return the stages of iterations 0 and 1 that a run makes, whatever its last iteration.

    `config`: of the run, not of one of its iterations.
    """
    every = {Ref(k, stage) for k in (0, 1) for stage in stages_of(k)}
    if not config.eft.construction.enabled:
        every -= {JUDGED, CONSTRUCTED}
    if not config.probe.enabled:
        every -= set(PROBES)
    if config.m1.model is None:
        return frozenset(every)
    needed = {model_ref(1), *(_ALSO[name] for name in config.m1.also_make)}
    for _, own in config.own_settings():
        needed.update(_needed(own))
    second = config.at(2)
    if second.compares_judges or second.pairs.filter != "none":
        needed.add(model_ref(0))  # the model before M1
    if SFT_BASELINE in needed:
        needed |= {model_ref(0), IFT}
    if model_ref(0) in needed and config.model.base == "tiny":
        needed.add(IFT)  # its tokenizer is made of it
    if RANKED in needed:
        needed |= {probe for probe in PROBES if model_ref(probe.iteration) in needed}
    return frozenset(needed & every)


def _needed(config: Config) -> Iterator[Ref]:
    """Yield what an iteration's settings name of the stages before M1."""
    prompts, stopping = config.prompts, config.dpo.early_stopping
    names: list[str] = [config.improvement.judge, config.dpo.reference]
    if prompts.writes:
        yield IFT
        names.append(prompts.generator)
    if stopping.enabled:
        names.append(stopping.judge)
    yield from (_NAMED[name] for name in names if name in _NAMED)


def check_given(config: Config) -> None:
    """Check that no iteration needs seed data that a given M1 was not trained on here.

    Raises:
        ConfigError: `improvement.method` is "positive_only", which trains from M0 on all of it.
    """
    for iteration, own in config.own_settings():
        if config.m1.model is not None and own.improvement.method == "positive_only":
            raise ConfigError(
                f"{iteration}improvement.method = 'positive_only' trains M0 on the seed data of "
                "M1, and with m1.model there is none; use 'dpo', or let M1 be trained"
            )

"""The runs of a group: which variant each is of, with which seed, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ConfigError
from core.reader import RunReader
from core.sweep import variant_of
from reports.collect import collect
from reports.lineage import verified

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.config import Config
    from reports.scores import Metric

_NOT_THE_VARIANT = ("run", "out_dir", "seed", "plan", "launch", "engine")


class Member(NamedTuple):
    """One run of a group: its variant, its seed, its numbers."""

    variant: str
    seed: int
    results: RunReader
    config: Config
    metrics: dict[str, Metric]


def members(folders: Sequence[Path]) -> list[Member]:
    """Read runs in the order given; the first one's variant is what others are compared with.

    Runs belong to one variant if their names differ in "-seed<n>" alone.

    Raises:
        ConfigError: one is no run or has no configuration, two have the same variant and seed, or
            runs of one variant differ in more than their seeds.
        StaleArtifact: a run's artifacts do not fit together.
    """
    found: list[Member] = []
    for folder in folders:
        results = RunReader(folder, strict=True)
        config = results.config
        if config is None:
            raise ConfigError(f"{folder}: {results.config_problem}, so its seed is not known")
        verified(results.store)
        metrics = {metric.id: metric for metric in collect(results).metrics}
        name = variant_of(config.run, config.seed)
        found.append(Member(name, config.seed, results, config, metrics))
        _check(found)
    return found


def _check(found: Sequence[Member]) -> None:
    """Check that the last of some members is another seed of the same thing as the others."""
    *others, last = found
    for other in (one for one in others if one.variant == last.variant):
        folders = f"{other.results.folder} and {last.results.folder}"
        if other.seed == last.seed:
            raise ConfigError(f"{folders}: both are {last.variant} with seed {last.seed}")
        if names := _changed(other.config, last.config):
            raise ConfigError(
                f"{folders}: both are called {last.variant}, but {', '.join(names)} differ besides "
                "the seed; name them <variant>-seed<n>, with a name for each variant"
            )


def _changed(a: Config, b: Config) -> list[str]:
    """Return the settings that differ between two runs and belong to their variant."""

    def plain(config: Config) -> dict[str, Any]:
        sections = {n: v for n, v in config.model_dump().items() if n not in _NOT_THE_VARIANT}
        return sections | {"engine.dtype": config.engine.dtype}

    one, other = plain(a), plain(b)
    return [name for name, value in one.items() if other[name] != value]

"""A sweep: variants of a configuration, each with several seeds, as runs in one folder.

sweep = "variants"                        # the runs are runs/variants/<variant>-seed<n>
base = "quickstart.toml"                  # what variants of settings alone begin with
seeds = [0, 1, 2]
evaluate = ["ifeval", "truth"]

[settings]                                # of all variants
evaluation.models = ["M1", "M2", "M3"]

[variants]                                # the first is what the others are compared with
dpo = {}
shuffled = { pairs.control = "shuffled" }
cream = "variants/cream.toml"
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field, JsonValue, ValidationError

from core.config import Config, load_config
from core.config_files import parsed
from core.errors import ConfigError
from core.evaluation_config import Benchmark  # noqa: TC001 - pydantic reads it
from core.sections import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_CONFIG = "config"  # of a variant: the file that its settings change


class SweepFile(Section):
    """The file of a sweep; paths in it are relative to its folder."""

    sweep: str = Field(pattern=_NAME)
    """Name of the sweep: its folder under `out_dir` of the first variant."""
    base: str | None = None
    """Configuration file of the variants that name none."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)] = (0,)
    """Seeds that each variant is run with."""
    evaluate: tuple[Benchmark, ...] = ()
    """Benchmarks that each run is evaluated on; none: runs are only trained."""
    reuse: tuple[str, ...] = ()
    """Run folders (relative to the current one, like `out_dir`) to take artifacts from as well, if
    they are there."""
    settings: dict[str, JsonValue] = {}  # noqa: RUF012 - pydantic copies it
    """Settings of all variants, in place of their file's."""
    variants: Annotated[
        dict[Annotated[str, Field(pattern=_NAME)], str | dict[str, JsonValue]], Field(min_length=1)
    ]
    """Each a configuration file, or settings that change `base` (or the file that their `config`
    names). The first is what the others are compared with."""


class SweepRun(NamedTuple):
    """One run: a variant with one seed; `file` and `settings` are what its commands are given."""

    variant: str
    seed: int
    file: Path
    settings: tuple[str, ...]
    config: Config

    @property
    def name(self) -> str:
        """What people call it: "cream, seed 0"."""
        return f"{self.variant}, seed {self.seed}"


class Sweep(NamedTuple):
    """A sweep with its runs, seed by seed, so that each seed's variants can be compared early."""

    file: Path
    folder: Path
    runs: tuple[SweepRun, ...]
    evaluate: tuple[str, ...]
    reuse: tuple[Path, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of its variants; the first is what the others are compared with."""
        return tuple(dict.fromkeys(run.variant for run in self.runs))


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep's file and the configuration of each of its runs.

    `overrides`: settings of all runs (`a.b=value`), in place of the file's.

    Raises:
        ConfigError: a file is missing or wrong; the message names the variant.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such sweep file; configs/sweeps/variants.toml is one")
    try:
        given = SweepFile.model_validate(parsed(path))
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from None
    if len(set(given.seeds)) < len(given.seeds):
        raise ConfigError(f"{path}: seeds: one comes twice in {list(given.seeds)}")
    variants = {name: _variant(path, given, name) for name in given.variants}
    folder: Path | None = None
    runs = []
    for seed in given.seeds:
        for variant, (file, own) in variants.items():
            settings = [*_flat(given.settings), *own, *overrides]
            if named := [s for s in settings if s.startswith(("run=", "seed="))]:
                raise ConfigError(f"{path}: {named[0]}: a sweep names its runs and their seeds")
            try:
                folder = folder or Path(load_config(file, settings).out_dir) / given.sweep
                settings += [
                    f"run={json.dumps(run_name(variant, seed))}",
                    f"out_dir={json.dumps(str(folder))}",
                    f"seed={seed}",
                ]
                config = load_config(file, settings)
            except ConfigError as error:
                raise ConfigError(f"{path}: variants.{variant}: {error}") from None
            runs.append(SweepRun(variant, seed, file, tuple(settings), config))
    reuse = tuple(Path(run).expanduser() for run in given.reuse)
    return Sweep(path, folder or Path(), tuple(runs), given.evaluate, reuse)


def run_name(variant: str, seed: int) -> str:
    """Return the name of a variant's run with a seed; `variant_of` is its inverse."""
    return f"{variant}-seed{seed}"


def variant_of(run: str, seed: int) -> str:
    """Return the variant of a run by its name; of other names the whole."""
    return run.removesuffix(f"-seed{seed}")


def _variant(path: Path, given: SweepFile, name: str) -> tuple[Path, list[str]]:
    """Return a variant's configuration file and its settings."""
    variant = given.variants[name]
    own = {_CONFIG: variant} if isinstance(variant, str) else {**variant}
    file = own.pop(_CONFIG, given.base)
    if not isinstance(file, str):
        raise ConfigError(f"{path}: variants.{name} has settings alone: set `base` to their file")
    return Path(os.path.normpath(path.parent / Path(file).expanduser())), [*_flat(own)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield nested settings as `a.b=value` with values in TOML's syntax."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={json.dumps(value, ensure_ascii=False)}"


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = ", ".join(SweepFile.model_fields)
        return f"{path}: unknown key {where!r}; a sweep's file knows {known}"
    return f"{path}: {where or 'sweep'}: {first['msg']}"

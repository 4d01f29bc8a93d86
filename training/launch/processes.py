"""Several processes that train one model like one process: same order, same batches, same loss.

accelerate gives micro-batches to the processes in turn, so a global batch holds the same rows in
any number of them. To fill the last round of an epoch it would repeat rows; here the round is
padded with empty rows instead, which have no labels and so no gradient.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from accelerate import Accelerator

    from core.config import OptimiserSection

MARK = "srlm> "
"""Begins each line of a worker's output that is shown to the user."""


def processes() -> int:
    """Return how many processes train together, on all machines (torchrun sets it); else 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that logs and writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Wait until every process has called this; return at once if there is only one."""
    import torch

    if processes() > 1:
        torch.distributed.barrier()


def shards_weights() -> bool:
    """Whether accelerate was told to shard the weights by FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false") == "true"


def keep_sums_in_fp32(accelerator: Accelerator) -> None:
    """Let FSDP compute in bf16, but return outputs as they are and add up gradients in fp32.

    accelerate's policy rounds what the model returns to bf16 as well: a log-probability of -300
    would move in steps of 2, and a DPO margin be 0 or 0.2. Call it before the model is sharded.
    """
    import torch

    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None or plugin.mixed_precision_policy is None:
        return
    plugin.mixed_precision_policy = replace(
        plugin.mixed_precision_policy, reduce_dtype=torch.float32, output_dtype=None
    )


def accumulation(section: OptimiserSection, count: int, name: str) -> int:
    """Return micro-batches per optimiser step in each of `count` processes.

    Raises:
        ConfigError: the global batch cannot be split evenly.
    """
    together = section.micro_batch_size * count
    if section.batch_size % together:
        raise ConfigError(
            f"{name}.batch_size = {section.batch_size} sequences per step is not a multiple of "
            f"{name}.micro_batch_size = {section.micro_batch_size} x {count} processes = "
            f"{together}; change one of them, or launch.processes"
        )
    return section.batch_size // together


class SameOrder:
    """The order in which one process would see the rows, then the padding of the last round.

    The data set holds one empty row, after its `rows` real ones.
    """

    def __init__(self, rows: int, *, seed: int, per_round: int) -> None:
        """Shuffle `rows` by `seed` as accelerate does; `per_round`: of all processes together."""
        from accelerate.data_loader import SeedableRandomSampler

        self._order = SeedableRandomSampler(range(rows), data_seed=seed)
        self._rows, self._empty = rows, -rows % per_round

    def __len__(self) -> int:
        return self._rows + self._empty

    def __iter__(self) -> Iterator[int]:
        yield from self._order
        for _ in range(self._empty):
            yield self._rows

    def set_epoch(self, epoch: int) -> None:
        """Use this epoch's shuffle from now on (called by the data loader)."""
        self._order.set_epoch(epoch)


class EvenShards:
    """Mixin of a TRL trainer that samples by `SameOrder` if there are several processes.

    Must come before the trainer, whose data set must end with the empty row then.
    """

    args: Any
    train_dataset: Any

    def get_train_dataloader(self) -> Any:
        """Return TRL's data loader with its sampler set.

        Otherwise a run resumed in a later epoch would see the first epoch's order again.
        """
        from accelerate.data_loader import BatchSamplerShard

        loader = super().get_train_dataloader()  # type: ignore[misc]
        if processes() > 1:
            dealt = loader.batch_sampler
            if not isinstance(dealt, BatchSamplerShard):
                raise RuntimeError("accelerate gives every process all rows instead of its shard")
            loader.set_sampler(dealt.batch_sampler.sampler)
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if processes() == 1:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        return SameOrder(
            len(self.train_dataset) - 1,
            seed=self.args.data_seed,
            per_round=self.args.per_device_train_batch_size * processes(),
        )


def shard_on_cpu() -> None:
    """Make accelerate shard weights on the CPU too, which it does only on accelerators.

    For trying FSDP without GPUs. Call it after making the training arguments, which start the
    process group, and before making the trainer.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    state = PartialState()
    if shards_weights() and state.distributed_type == DistributedType.MULTI_CPU:
        # Only the branch that sets up the FSDP plugin checks for a type with devices.
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU  # noqa: SLF001

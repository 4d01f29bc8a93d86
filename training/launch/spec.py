"""What the loop tells the training processes it launches."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations when the class is made

from core.config import DpoSection, LoraSection, ModelSection, SftSection  # noqa: TC001
from core.sections import Section

MARK = "srlm> "
"""Begins each line of a worker's output that is meant for people."""


class Spec(Section):
    """One training stage: SFT if `sft` is set, DPO if `dpo` is. Its rows lie in a file beside."""

    policy: Path
    """The model folder that training starts from."""
    reference: Path | None = None
    """DPO: what it is held close to, None for the start itself."""
    sft: SftSection | None = None
    dpo: DpoSection | None = None
    models: ModelSection
    lora: LoraSection
    seed: int
    device: str
    work: Path
    """The stage's scratch folder: checkpoints, and in the end the model."""
    metrics: Path
    title: str
    pausing: bool = False
    """DPO: end at the next checkpoint that is to be judged."""
    attempt: str = ""
    """Names one start of the processes, for machines that follow."""
    host: str = ""
    """Where the loop runs, and its process: workers there end when it does."""
    pid: int = 0

    @property
    def section(self) -> SftSection | DpoSection:
        """Return the settings of the optimiser."""
        section = self.sft or self.dpo
        if section is None:
            raise ValueError("neither sft nor dpo")
        return section


def launch_folder(work: Path) -> Path:
    """Return where loop and workers of one stage exchange files."""
    return work / "launch"

"""One training stage as one object, for this process or, as JSON, for launched processes."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations when the class is made
from typing import Literal

from core.config import DpoSection, LaunchSection, LoraSection, ModelSection, SftSection
from core.sections import Section


class TrainingJob(Section):
    """One training stage: SFT if `sft` is set, DPO if `dpo` is. Its rows are passed beside it."""

    policy: Path
    """The model folder that training starts from."""
    reference: Path | None = None
    """DPO: the reference model, None for the policy itself."""
    sft: SftSection | None = None
    dpo: DpoSection | None = None
    models: ModelSection = ModelSection()
    lora: LoraSection = LoraSection()
    seed: int
    device: str
    work: Path
    """The stage's scratch folder: checkpoints, and in the end the model."""
    metrics: Path
    """JSONL file with the metrics of each step."""
    title: str
    """Name of the stage in progress bars and messages."""
    pausing: bool = False
    """Launched DPO: end at the next checkpoint that is to be judged."""
    timeout_s: int = LaunchSection().timeout_s
    """Launched on GPUs: seconds that a process waits for the others."""
    attempt: str = ""
    """Launched: identifies one start of the processes, for machines that follow."""
    host: str = ""
    """Launched: where the launching process runs; with `pid`, workers there end when it does."""
    pid: int = 0

    @property
    def name(self) -> Literal["sft", "dpo"]:
        """Return the name of the settings of the optimiser."""
        return "sft" if self.sft else "dpo"

    @property
    def section(self) -> SftSection | DpoSection:
        """Return the settings of the optimiser."""
        section = self.sft or self.dpo
        if section is None:
            raise ValueError(f"{self.title}: neither sft nor dpo is set")
        if section.precision == "auto":
            raise ValueError(f"{self.title}: precision is 'auto'; see engines/precision.py")
        return section

    @property
    def model(self) -> Path:
        """Return where the trained model is written."""
        return self.work / "model"

    def absolute(self) -> TrainingJob:
        """Return the same job with absolute paths, for processes in other working directories."""
        paths = {name: getattr(self, name) for name in ("policy", "reference", "work", "metrics")}
        return self.model_copy(update={n: path and path.resolve() for n, path in paths.items()})

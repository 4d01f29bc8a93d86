"""The iteration story: what every iteration did with its data, and whether it is still healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import Ref, Stage
from reports.story import iteration, seed

if TYPE_CHECKING:
    from reports.document import Section
    from reports.results import RunResults


def sections(results: RunResults) -> list[Section]:
    """Return a section for iteration 1 and one for each later iteration that has prompts.

    [] for a folder of imported results, which was trained elsewhere.
    """
    if not results.exists(Ref(1, Stage.IFT)):
        return []
    return [seed.section(results), *(iteration.section(results, k) for k in results.iterations)]

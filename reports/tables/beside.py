"""Published numbers where they may stand beside a table's own; the sentence where they may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.published import comparable
from reports.published.published import of_paper, of_recorded

if TYPE_CHECKING:
    from reports.document import Published
    from reports.results import RunResults


class Beside:
    """Looks up published numbers for one benchmark's cells.

    `own` are the obstacles for the run's own models; those of imported models are each file's.
    """

    def __init__(self, results: RunResults, benchmark: str, subjects: tuple[str, ...]) -> None:
        """Find the obstacles for a table with rows for these models or matchups.

        Args:
            results: the run.
            benchmark: as for `comparable.obstacles`.
            subjects: models, or matchups as "M2-M1".
        """
        self._name = "alpaca_eval" if benchmark == "lengths" else benchmark.partition("/")[0]
        self._imported = {
            subject: facts
            for subject in subjects
            if (facts := comparable.imported(results, f"{subject}/{self._name}")) is not None
        }
        self._refused = {
            subject: comparable.imported_obstacles(results, f"{subject}/{self._name}")
            for subject in self._imported
        }
        has_own = any(subject not in self._imported for subject in subjects)
        self.own = comparable.obstacles(results, benchmark) if has_own else ()

    def published(self, subject: str, key: str) -> Published | None:
        """Return the number published for a row, None if there is none or it may not stand there.

        An imported model goes by the name its file gives it, a model of the run by the paper's.
        """
        if (facts := self._imported.get(subject)) is not None:
            refused = self._refused[subject]
            return None if refused else of_recorded(self._name, str(facts.get("model")), key)
        return None if self.own else of_paper(self._name, subject, key)

    def is_imported(self, subject: str) -> bool:
        """Whether a row's results were imported."""
        return subject in self._imported

    @property
    def imported_names(self) -> tuple[str, ...]:
        """What the files call the imported models."""
        return tuple(str(facts.get("model")) for facts in self._imported.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the sentences that say why published numbers are not there; () if they are."""
        refused = [clause for clauses in self._refused.values() for clause in clauses]
        return comparable.note(tuple(dict.fromkeys([*self.own, *refused])))

"""Iteration 1: seed data, the SFT baseline, and how well M0, SFT and M1 judge."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.stages import SFT_BASELINE, Ref, Stage, model_ref
from reports.document import Cell, Section, Table, TableRow
from reports.sections.cells import count, counted_rows, facts_of, of_point, words
from reports.sections.loop import judging
from reports.sections.loop.training import of_seed_models

if TYPE_CHECKING:
    from core.reader import RunReader
    from core.records import Judgment

_IFT, _RANKED, _EFT = (Ref(1, stage) for stage in (Stage.IFT, Stage.RANKED, Stage.EFT))
_JUDGED, _CONSTRUCTED = Ref(1, Stage.EFT_JUDGMENTS), Ref(1, Stage.EFT_CONSTRUCTED)
_PROBE_0, _PROBE_1 = Ref(0, Stage.PROBE), Ref(1, Stage.PROBE)
_DROPPED = "dropped_"
_TRAINED = (
    "The SFT baseline is M0 trained on IFT examples (instructions with a human reply) alone; "
    "M1 is M0 trained on IFT and EFT examples (a reply to judge, with the judge's verdict)."
)
_GIVEN = "M1 was not trained here but given (m1.model): {}."


def section(results: RunReader) -> Section:
    """Return the section of iteration 1; missing artifacts are named in a sentence."""
    refs = (_IFT, _RANKED, SFT_BASELINE, _EFT, model_ref(1))
    absent = [str(ref) for ref in refs if not results.exists(ref)]
    given = facts_of(results, model_ref(1)).get("origin")
    paragraphs = [_GIVEN.format(given) if given else _TRAINED]
    if absent:
        what = "Not part of this run" if given else "Not made yet"
        paragraphs.append(f"{what}: {', '.join(absent)}.")
    paragraphs += _few_examples(results)
    probes = [str(ref) for ref in (_PROBE_0, _PROBE_1) if not results.exists(ref)]
    if probes and not given:
        is_off = results.config is not None and not results.config.probe.enabled
        why = "probe.enabled is false" if is_off else "not made yet"
        paragraphs.append(f"The judging of M0 and M1 was not probed: {', '.join(probes)} ({why}).")
    paragraphs.append(judging.flagged_by_benchmark(results, 1))
    figure = of_seed_models(results)
    tables = (
        _data(results),
        _construction(results),
        _scores(results),
        _judging(results),
        *judging.contamination(results, 1),
    )
    return Section(
        "iteration_1",
        "Iteration 1: seed data, SFT baseline and M1",
        tuple(paragraphs),
        (figure,) if figure is not None else (),
        tuple(table for table in tables if table is not None),
    )


def _few_examples(results: RunReader) -> list[str]:
    """Return a sentence if there are fewer EFT examples than `eft.selection.max_examples`."""
    made = results.known_manifest(_EFT)
    wanted = results.setting("eft.selection.max_examples", _EFT)
    if made is None or wanted is None or (made.rows or 0) >= wanted:
        return []
    return [
        f"M1 was trained on {made.rows or 0:,} EFT examples, fewer than the {wanted:,} asked for "
        "(eft.selection.max_examples): the data give no more."
    ]


def _data(results: RunReader) -> Table:
    """Return how much seed data there is."""

    def size(ref: Ref, name: str | None = None) -> Cell:
        if not results.exists(ref):
            return Cell(reason=f"{ref} is {results.why_unmade(ref)}")
        manifest = results.manifest(ref)
        return count(manifest.counts.get(name, 0) if name else manifest.rows or 0)

    sizes = {
        "IFT examples": size(_IFT),
        "prompts with human-ranked replies": size(_RANKED),
        "… of which in the evaluation split": size(_RANKED, "eval_prompts"),
        "human-ranked replies": size(_RANKED, "replies"),
        "EFT examples by construction": size(_CONSTRUCTED),
        "EFT examples trained on": size(_EFT),
    }
    rows = tuple(TableRow(name, (cell,)) for name, cell in sizes.items())
    return Table("iteration_1_data", "Seed data", "data", ("number",), rows)


def _construction(results: RunReader) -> Table | None:
    """Return the yield of EFT by construction: what was kept of the baseline's judgments."""
    if not results.exists(_CONSTRUCTED):
        return None
    counts = results.manifest(_CONSTRUCTED).counts
    named = {"kept": counts.get("kept", 0)} | {
        f"dropped: {words(name.removeprefix(_DROPPED))}": n
        for name, n in counts.items()
        if name.startswith(_DROPPED)
    }
    return Table(
        "iteration_1_construction",
        "EFT by construction: judgments of the SFT baseline whose order agrees with the humans'",
        "replies",
        ("number", "% of all"),
        counted_rows(named, "replies judged", total_count=counts.get("replies", 0)),
    )


def _scores(results: RunReader) -> Table | None:
    """Return the scores of the EFT examples and where they come from."""
    examples = results.rows(_EFT)
    if not examples:
        return None
    points = Counter(round(example.score) for example in examples)
    named = {f"score {point}": points[point] for point in sorted(points)}
    sources = Counter(example.source for example in examples)
    wording = ", ".join(f"{source} {n}" for source, n in sorted(sources.items()))
    return Table(
        "iteration_1_eft_scores",
        "Scores of the EFT examples",
        "score",
        ("examples", "% of all"),
        counted_rows(named, "examples in all"),
        notes=(f"Sources of the judge's replies: {wording}.",),
    )


def _judging(results: RunReader) -> Table | None:
    """Return how M0, the SFT baseline and M1 judge human-ranked replies: the effect of EFT."""
    judged = (
        ("M0, evaluation split", _PROBE_0, "probe/M0"),
        ("SFT, for EFT by construction", _JUDGED, "eft_judgments"),
        ("M1, evaluation split", _PROBE_1, "probe/M1"),
    )
    rows = [
        TableRow(name, _judging_cells(results.rows(ref), group))
        for name, ref, group in judged
        if results.exists(ref)
    ]
    if not rows:
        return None
    return Table(
        "iteration_1_judging",
        "Judging human-ranked replies before and after EFT",
        "judge",
        ("readable replies, %", "mean score", "unread, by reason"),
        tuple(rows),
    )


def _judging_cells(judgments: list[Judgment], group: str) -> tuple[Cell, ...]:
    scores = [j.score for j in judgments if j.score is not None]
    share = judging.readable_share(judgments)
    reasons = Counter(words(j.unparsed) for j in judgments if j.unparsed is not None)
    wording = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()))
    mean = Cell(
        value=sum(scores) / len(scores) if scores else None,
        reason=None if scores else "no reply could be read",
        n=len(scores),
        missing=len(judgments) - len(scores),
        rows=group,
    )
    return of_point(share, "no judgments"), mean, Cell(text=wording or "none")

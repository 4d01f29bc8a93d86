"""What a run used: engine, precision, device, tokens, time and cost, as its manifests record it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import BENCHMARKS, Subject
from core.stages import SPECS, is_model, order_of
from judges.backends.cassette import Cassette
from reports.document import Cell, Section, Table, TableRow
from reports.published.comparable import external_judges
from reports.published.condition_differences import shown_judge
from reports.sections.cells import EMPTY, count, listed
from reports.sections.section import ReportSection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.reader import RunReader
    from core.stages import Ref
    from core.store import Manifest

_COLUMNS = ("engine", "dtype", "device", "rows", "tokens", "seconds")
_UNRECORDED = "manifests do not record it"
_SERVER = "the server does not say"
_OTHERS = "other"
_DIGEST = 64  # hexadecimal digits of a sha256
_TRAINED = ("sft", "dpo")  # the sections of the settings that a model was trained with


class Used(NamedTuple):
    """What one stage ran on; each a text or the reason why it is unknown."""

    engine: Cell
    dtype: Cell
    device: Cell


class _Made(NamedTuple):
    """An artifact and what its manifest says."""

    ref: Ref
    manifest: Manifest


def sections(results: RunReader) -> list[Section]:
    """Return the section: a table per iteration, one of the evaluation. [] for imported results."""
    if results.only_imported:
        return []
    refs = sorted(results.store.artifacts().values(), key=order_of)
    made = [_Made(ref, results.manifest(ref)) for ref in refs]
    iterations = sorted({one.ref.iteration for one in made if not one.ref.address})
    tables = [
        _table(
            f"settings_iteration_{k}",
            f"Stages of iteration {k}",
            "stage",
            {SPECS[one.ref.stage].title: [one] for one in made if _belongs(one.ref, k)},
            results,
        )
        for k in iterations
    ]
    if evaluated := _by_benchmark(one for one in made if one.ref.address):
        tables.append(_table("settings_evaluation", "Evaluation", "benchmark", evaluated, results))
    return [
        Section(
            "settings",
            "Settings, versions, device, time and cost",
            (*_versions(made), _cost(results)),
            tables=tuple(tables),
        )
    ]


def _belongs(ref: Ref, iteration: int) -> bool:
    return not ref.address and ref.iteration == iteration


def _by_benchmark(made: Iterable[_Made]) -> dict[str, list[_Made]]:
    """Return the artifacts of each benchmark by its title, in the order of the tables."""
    found: dict[str, list[_Made]] = {}
    for one in made:
        subject = Subject.parse(one.ref.address)
        name = subject.facts.title if subject is not None else _OTHERS
        found.setdefault(name, []).append(one)
    titles = [facts.title for facts in BENCHMARKS.values()]
    return {name: found[name] for name in (*titles, _OTHERS) if name in found}


def _table(
    key: str, title: str, head: str, lines: Mapping[str, list[_Made]], results: RunReader
) -> Table:
    rows = [TableRow(name, _cells(results, made)) for name, made in lines.items()]
    seconds = math.fsum(one.manifest.seconds for made in lines.values() for one in made)
    total = (*(EMPTY,) * (len(_COLUMNS) - 1), Cell(seconds, digits=1))
    return Table(
        key,
        title,
        head,
        _COLUMNS,
        (*rows, TableRow("in all", total)),
        notes=(
            "From the manifests. Tokens: those that were sampled; of training, those of the "
            "examples. Seconds: of the attempt that finished the stage.",
        ),
    )


def _cells(results: RunReader, made: list[_Made]) -> tuple[Cell, ...]:
    used = [found for one in made if (found := used_by(one.ref, one.manifest)) is not None]
    rows = [one.manifest.rows for one in made if one.manifest.rows is not None]
    return (
        *(_joined([getattr(found, name) for found in used]) for name in Used._fields),
        count(sum(rows)) if rows else EMPTY,
        _tokens(results, made),
        Cell(math.fsum(one.manifest.seconds for one in made), digits=1),
    )


def _joined(cells: list[Cell]) -> Cell:
    """Return the different texts of several stages; the first reason if there is no text."""
    texts = dict.fromkeys(cell.text for cell in cells if cell.text)
    if texts:
        return Cell(text=", ".join(texts))
    return next((cell for cell in cells if cell.reason), EMPTY)


def used_by(ref: Ref, manifest: Manifest) -> Used | None:
    """Return what a stage ran on; None for one that neither samples nor trains."""
    engine = manifest.engine
    if engine is None:
        settings = manifest.key.config
        trained = [settings[name] for name in _TRAINED if name in settings]
        if not is_model(ref) or not trained:
            return None
        precision = Cell(text=str(trained[0]["precision"]))
        return Used(Cell(text="training"), precision, Cell(reason=_UNRECORDED))
    kind, *parts = engine.split("/")
    if kind == "transformers":
        return Used(*(Cell(text=part) for part in (kind, *parts[:2])))
    if kind == "vllm":
        return Used(Cell(text=f"vLLM {parts[0]}"), *(Cell(text=part) for part in parts[1:3]))
    if len(parts) > 1 and len(parts[-1]) == _DIGEST:  # a server of a model folder, by its weights
        return Used(Cell(text="server"), Cell(text=parts[-2]), Cell(reason=_SERVER))
    return Used(Cell(text=shown_judge(engine)), Cell(reason=_SERVER), Cell(reason=_SERVER))


def _tokens(results: RunReader, made: list[_Made]) -> Cell:
    """Return the tokens that stages sampled or trained on, as far as they are recorded."""
    known, unknown = [], False
    for ref, manifest in made:
        if "tokens" in manifest.facts:
            known.append(int(manifest.facts["tokens"]))
        elif used_by(ref, manifest) is None:
            continue  # it made its rows without a model
        elif not is_model(ref) and hasattr(next(iter(results.rows(ref)), None), "tokens"):
            known.append(sum(row.tokens for row in results.rows(ref)))
        else:
            unknown = True
    if known:
        return Cell(value=float(sum(known)), digits=0)
    return Cell(reason=_UNRECORDED) if unknown else EMPTY


def _versions(made: list[_Made]) -> tuple[str, str]:
    """Return the versions that manifests record, and what they do not record."""
    code = sorted({one.manifest.code_version for one in made})
    harness = sorted({str(f["lm_eval"]) for one in made if "lm_eval" in (f := one.manifest.facts)})
    known = [f"srlm {listed(code)}", *(f"lm-eval {version}" for version in harness)]
    return (
        f"Versions: {'; '.join(known)}.",
        "Not recorded in manifests: the versions of PyTorch, transformers, TRL and the other "
        "libraries (requirements.lock has those of an installed checkout), and the machine's "
        "processor and memory.",
    )


def _cost(results: RunReader) -> str:
    """Return what the judges' requests cost, or why that is unknown."""
    judges = external_judges(results)
    paid = [judge for judge in judges if judge.startswith("openai/")]
    if not judges:
        return "Cost of judging: none; no judge was asked."
    if not paid:
        return "Cost of judging: no charge; the judge was a local model, not a server."
    path = results.store.paths.cassette
    if not path.is_file():
        return "Cost of judging: unknown; the record of requests (eval/cassette.sqlite) is absent."
    with Cassette(path, read_only=True) as cassette:
        dollars = cassette.cost_usd()
    if not dollars:
        return "Cost of judging: unknown; no price was known, see evaluation.judge.price_usd."
    return f"Cost of judging: {dollars:.2f} USD, the sum over all recorded requests."


SECTION = ReportSection(sections)

"""Size of the training data, and its distribution by words (Figure 6).

The paper embeds prompts with Llama 2 70B; here TF-IDF over words, reduced by a truncated SVD,
needs no model. Neighbourhoods are comparable, distances between groups are not (t-SNE).
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.errors import DataError
from core.stages import Ref, Stage
from judges.rubrics import load_rubric
from reports.document import Cell, Figure, Published, Table, TableRow
from reports.formats.plotting import COLOURS, MARKERS
from reports.published.published import of_paper
from reports.sections.cells import seed_of
from reports.sections.drawing import drawn_figure
from reports.sections.section import section_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from core.reader import RunReader
    from core.records import JudgeExample

_SAMPLE = "sample"
_SIZES = (
    "The paper's counts are shown for scale: they are sizes, not results, for Llama 2 70B and "
    "Open Assistant's data. Its EFT examples, 541 for evaluation too, are counted after filtering; "
    "the evaluation split here is not filtered."
)
_NOT_BESIDE = (
    "Published counts are not shown: the seed data is the packaged sample, written for "
    "this project."
)
MOST_TEXTS = 200
_LEAST_TEXTS = 5  # a group of fewer has no distribution to look at
_SMALL = 50
_ORDER = (3, 4, 2, 1, 6, 5, 0)  # of the colours: those that differ most come first
_MANY = 200  # texts from which dots are drawn small
_DOT, _LARGE_DOT = 3.4, 5.5  # points
_WORD = r"\w+|[^\w\s]"  # punctuation too: a text without words must have something
_DIMENSIONS = 30
_LEAST_PERPLEXITY, _PERPLEXITY = 3, 30
_ITERATIONS = 300  # the first 250 spread the groups out
_ANGLE = 0.7  # how coarsely far dots are summed up: faster than the default 0.5
_JITTER = 0.01  # of the spread
_DECIMALS = 2  # positions carry rounding; a hundredth of a unit is far below a dot's size


def table(results: RunReader) -> Table | None:
    """Return a row per kind of data and iteration; None for a folder of imported results."""
    if results.only_imported:
        return None
    is_sample = results.setting("ift.source", Ref(1, Stage.IFT)) == _SAMPLE
    return Table(
        key="training_data",
        title="Training data (rows)",
        head="data",
        columns=("count",),
        rows=tuple(_rows(results, beside=not is_sample)),
        origin="section 3.1",
        notes=(_NOT_BESIDE if is_sample else _SIZES,),
    )


def _rows(results: RunReader, *, beside: bool) -> Iterator[TableRow]:
    """Yield the rows, with the paper's counts where they may stand beside (`beside`)."""

    def of_the_paper(name: str) -> Published | None:
        return of_paper("training_data", name, "count") if beside else None

    for name, stage in (("IFT examples", Stage.IFT), ("EFT examples (training)", Stage.EFT)):
        yield _row(results, name, Ref(1, stage), published=of_the_paper(name))
    yield _evaluation_split(results, of_the_paper("EFT examples (evaluation)"))
    last = max(*results.iterations, *results.feedback_iterations, 1)
    for k in range(FIRST_FEEDBACK_ITERATION, last + 1):
        by = f"M{k - 1}"
        yield _row(results, f"prompts kept for M{k}", Ref(k, Stage.PROMPTS), "kept")
        yield _row(results, f"candidates by {by}", Ref(k, Stage.CANDIDATES))
        name = f"preference pairs AIFT({by}), for M{k}"
        published = of_the_paper(name)
        if published is not None:
            published = replace(published, source=f"AIFT({by}), {published.source}")
        rows = f"pairs/iter{k}"
        yield _row(results, name, Ref(k, Stage.PAIRS), "pair", published=published, rows=rows)


def _row(
    results: RunReader,
    name: str,
    ref: Ref,
    count: str = "",
    *,
    published: Published | None = None,
    rows: str = "",
) -> TableRow:
    """Return an artifact's rows, or one count of it with `n` all its rows."""
    manifest = results.known_manifest(ref)
    if manifest is None:
        reason = results.why_unmade(ref)
        return TableRow(name, (Cell(reason=reason, digits=0, published=published),))
    if not count:
        return TableRow(name, (Cell(value=manifest.rows or 0, digits=0, published=published),))
    value = manifest.counts.get(count, 0)
    cell = Cell(value=value, digits=0, n=manifest.rows, published=published, rows=rows)
    return TableRow(name, (cell,))


def _evaluation_split(results: RunReader, published: Published | None) -> TableRow:
    ref = Ref(1, Stage.RANKED)
    cell = Cell(reason=results.why_unmade(ref), digits=0, published=published)
    if results.exists(ref):
        held_out = [prompt for prompt in results.rows(ref) if prompt.split == "eval"]
        replies = sum(len(prompt.replies) for prompt in held_out)
        cell = Cell(value=replies, digits=0, published=published)
    return TableRow("EFT evaluation split (ranked replies)", (cell,))


class Group(NamedTuple):
    """The texts of one data set; `total` counts them before sampling."""

    name: str
    texts: list[str]
    total: int


def figure(results: RunReader) -> Figure | None:
    """Return the projected texts of IFT, EFT and each iteration's prompts.

    At most 200 of each, a seeded sample. None when fewer than two sets have five texts.
    """
    sets = _text_sets(results)
    groups = [group for group in sets if group.total >= _LEAST_TEXTS]
    if len(groups) < 2:  # noqa: PLR2004 - one set has nothing to be compared with
        return None
    seed = seed_of(results)
    places = project([text for group in groups for text in group.texts], seed=seed)
    sizes = ", ".join(f"{g.name}: {len(g.texts)} of {g.total}" for g in groups)
    notes = [
        "TF-IDF, truncated SVD and t-SNE of the words (the paper embeds with its 70B model). EFT "
        "is shown as the model reads it, inside the judge's prompt. Neighbourhoods are "
        "meaningful, distances are not.",
    ]
    if small := [f"{g.name} {g.total}" for g in groups if g.total < _SMALL]:
        notes.append(f"Small sets, with a shape mostly due to chance: {', '.join(small)}.")
    if left_out := [f"{g.name} {g.total}" for g in sets if g not in groups]:
        notes.append(f"Too small to show: {', '.join(left_out)}.")
    return drawn_figure(
        "data_distribution",
        "Distribution of the training data",
        lambda axes: _draw(axes, groups, places),
        f"Texts as dots, near each other where they share words. {sizes}.",
        height=4.2,
        origin="Figure 6",
        notes=tuple(notes),
    )


def project(texts: list[str], *, seed: int) -> list[tuple[float, float]]:
    """Return a place in the plane for each of two or more texts; same texts and seed, same places.

    TF-IDF (words and pairs of words), truncated SVD, t-SNE. One thread: sums of several threads
    depend on which of them finishes first.
    """
    import numpy as np
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=_WORD)
        matrix = words.fit_transform([text if text.strip() else "empty" for text in texts])
        size = min(_DIMENSIONS, *(edge - 1 for edge in matrix.shape))
        with np.errstate(invalid="ignore"):  # texts that are all the same explain 0 of 0 variance
            reduced = (
                TruncatedSVD(size, random_state=seed).fit_transform(matrix)
                if size > 1
                else matrix.toarray()
            )
        perplexity = min(_PERPLEXITY, max(_LEAST_PERPLEXITY, len(texts) // 10))
        tsne = TSNE(
            perplexity=min(perplexity, len(texts) - 1),
            init=_start(reduced, seed),
            max_iter=_ITERATIONS,
            angle=_ANGLE,
            random_state=seed,
        )
        found = np.round(tsne.fit_transform(reduced.astype(np.float32)), _DECIMALS)
    return [(float(x), float(y)) for x, y in found]


def _start(reduced: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """Return where the texts start: their first two components, in t-SNE's scale of 1e-4.

    No two in the same place, whatever they say: texts that are all the same have no component, and
    the library's own start would divide by their spread.
    """
    import numpy as np

    place = np.random.default_rng(seed).normal(size=(len(reduced), 2))
    found = reduced[:, :2] - reduced[:, :2].mean(axis=0)
    spread = found.std()
    if spread > 0:
        place *= _JITTER
        place[:, : found.shape[1]] += found / spread
    return (1e-4 * place).astype(np.float32)


def _text_sets(results: RunReader) -> list[Group]:
    """Return every set with a text, as its training sees it: for EFT the judge's whole input."""
    examples = results.rows(Ref(1, Stage.EFT))
    texts = {
        "IFT": [row.prompt for row in results.rows(Ref(1, Stage.IFT))],
        "EFT": _judge_inputs(results, examples),
    }
    for k in results.feedback_iterations:
        rows = results.rows(Ref(k, Stage.PROMPTS))
        texts[f"AIFT(M{k - 1})"] = [row.text for row in rows if row.kept]
    sets = []
    for name, found in texts.items():
        drawn, size = random.Random(f"distribution/{name}/{seed_of(results)}"), len(found)
        chosen = sorted(drawn.sample(range(size), min(size, MOST_TEXTS)))
        sets.append(Group(name, [found[at] for at in chosen], size))
    return sets


def _judge_inputs(results: RunReader, examples: list[JudgeExample]) -> list[str]:
    """Return what the judge is shown; without the rubric where its file is not there any more."""
    try:
        rubric = load_rubric(results.setting("judge.rubric", Ref(1, Stage.EFT)) or "additive")
    except DataError:
        return [f"{row.prompt}\n\n{row.response}" for row in examples]
    return [rubric.render(row.prompt, row.response) for row in examples]


def _draw(axes: Axes, groups: list[Group], places: list[tuple[float, float]]) -> None:
    size = _DOT if len(places) > _MANY else _LARGE_DOT
    start = 0
    for at, group in enumerate(groups):
        found = places[start : start + len(group.texts)]
        start += len(group.texts)
        axes.plot(
            [x for x, _ in found],
            [y for _, y in found],
            marker=MARKERS[at % len(MARKERS)],
            color=COLOURS[_ORDER[at % len(_ORDER)]],
            markersize=size,
            alpha=0.75,
            mew=0,
            ls="none",
            label=f"{group.name} ({len(found)})",
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)


SECTION = section_of("data", "Training data", figures=(figure,), tables=(table,))

"""Accuracy of recorded verdicts of judges against labels: LLMBar, JudgeBench, PandaLM, own files.

Each file is read into one form, a label and the judge's votes in its presentation orders, and
scored by one function, so that numbers of different benchmarks mean the same.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from core.intervals import share_score
from evaluation.files.json_rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from judges.replies import Winner

_WORDS: dict[object, Winner] = {
    1: "A", "1": "A", "A": "A", "A>B": "A",
    2: "B", "2": "B", "B": "B", "B>A": "B",
    0: "tie", "0": "tie", "tie": "tie", "Tie": "tie", "A=B": "tie",
}  # fmt: skip
_SWAPPED: dict[Winner | None, Winner | None] = {"A": "B", "B": "A", "tie": "tie", None: None}
_LLMBAR_ORDERS = ("swap = False", "swap = True")
_JUDGEBENCH = {"mmlu-pro": "knowledge", "livebench": "", "livecodebench": "coding"}
_OURS = ("ab", "ba")
_SHAPES = (
    '{"label", "results"} (LLMBar), {"pair_id", "label", "judgments"} (JudgeBench), {"idx", '
    '"gpt_result"} (PandaLM, with --labels), or {"item", "label", "ab", "ba"} (docs/evaluation.md)'
)
_NOTHING = "no labelled pair"


class Labelled(NamedTuple):
    """One pair: the right side (None: unknown) and the votes, one per order, from A's side.

    A vote of None could not be read; its benchmark counts it as `unread` (None: wrong).
    """

    key: str
    label: Winner | None
    votes: tuple[Winner | None, ...]
    category: str = ""
    unread: Winner | None = None

    @property
    def counted(self) -> tuple[Winner | None, ...]:
        """The votes as the benchmark counts them."""
        return tuple(vote or self.unread for vote in self.votes)

    def is_for(self, side: Winner | None) -> bool:
        """Whether the votes sum to more than 0: +1 for a side, −1 for the other, 0 for neither."""
        return sum(_signed(vote, side) for vote in self.votes) > 0


def report(files: Sequence[Path], labels: Path | None = None) -> dict[str, Any]:
    """Score the verdicts of one judge, or of several on the same pairs and their plurality.

    For one file the object of `score`; for several {"judges": a list of them, "plurality"}.

    Raises:
        DataError: a file is in none of the forms, a label is not known, or several files are not
            about the same pairs.
    """
    known = None if labels is None else read_labels(labels)
    judges = [read_verdicts(path, known) for path in files]
    found = [{"file": str(p), **score(items)} for p, items in zip(files, judges, strict=True)]
    if len(files) == 1:
        return found[0]
    for path, items in zip(files, judges, strict=True):
        if [(i.key, i.label) for i in items] != [(i.key, i.label) for i in judges[0]]:
            raise DataError(path, None, f"other pairs or labels than {files[0]}")
    jury = [
        first._replace(votes=tuple(vote for one in same for vote in one.votes))
        for first, *same in zip(judges[0], *judges, strict=True)
    ]
    return {"judges": found, "plurality": _plurality(jury)}


def read_verdicts(path: Path, labels: Mapping[str, Winner | None] | None = None) -> list[Labelled]:
    """Read a file of recorded verdicts; `labels` are those of another file, by pair.

    LLMBar's last result of each item counts: its Swap methods ask again where the orders disagree.
    JudgeBench's second judgment is of the swapped pair. What PandaLM calls garbage is unread, and
    counts as a tie, as its authors count it. Verdicts of our own may be null: unread.

    Raises:
        DataError: a row is in none of the forms, a pair occurs twice, or no label is known.
    """
    found: dict[str, Labelled] = {}
    for number, row in read_rows(path):
        read = next((read for field, read in _FORMS.items() if field in row), None)
        if read is None:
            raise DataError(path, number, f"no recorded verdict; expected {_SHAPES}")
        try:
            item = read(row, _key(row, number))
            if not item.votes:
                raise ValueError("no verdict")  # noqa: TRY301 - named as the other errors are
        except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
            raise DataError(path, number, f"{error!s:.80}: expected {_SHAPES}") from None
        if item.key in found:
            raise DataError(path, number, f"pair {item.key} occurs twice")
        if labels is not None:
            item = item._replace(label=labels.get(item.key))
        found[item.key] = item
    if not any(item.label for item in found.values()):
        raise DataError(path, None, "no pair has a label; give the labels' file with --labels")
    return list(found.values())


def score(items: Sequence[Labelled]) -> dict[str, Any]:
    """Compare a judge's votes with the labels; rates in percent, with Wilson's interval.

    An unread vote is wrong (PandaLM: a tie), as the benchmarks count it; `readable` leaves it out.
    Pairs without a label are left out (`n_unlabelled`).

        average_accuracy: share of right votes, averaged over the orders (LLMBar; PandaLM's one).
        pair_accuracy: share of pairs whose votes sum to more than 0: +1 right, −1 the other side,
            0 a tie or unread (JudgeBench).
        positional_agreement: share of pairs whose orders have the same vote.
        macro: precision, recall and F1, averaged over the sides that occur, of all votes.
        by_category: the first two, by category, if the file has any.
    """
    labelled = [item for item in items if item.label is not None]
    votes = [vote for item in labelled for vote in item.votes]
    found: dict[str, Any] = {
        "n": len(labelled),
        "n_unlabelled": len(items) - len(labelled),
        "orders": max((len(item.votes) for item in labelled), default=0),
        "n_votes": len(votes),
        "n_unread": votes.count(None),
        **_accuracies(labelled),
        "right_in_all_orders": share(all(v == i.label for v in i.counted) for i in labelled),
        "positional_agreement": _positional(labelled),
        "macro": _macro([(item.label, vote) for item in labelled for vote in item.counted]),
    }
    categories = sorted({item.category for item in labelled} - {""})
    if categories:
        by = {c: [item for item in labelled if item.category == c] for c in categories}
        found["by_category"] = {c: {"n": len(own), **_accuracies(own)} for c, own in by.items()}
    return found


def _accuracies(items: Sequence[Labelled]) -> dict[str, Any]:
    right = [sum(vote == i.label for vote in i.counted) / len(i.votes) for i in items]
    readable = [vote == i.label for i in items for vote in i.votes if vote is not None]
    sums = [i.is_for(i.label) for i in items]
    return {
        "average_accuracy": share(right) | {"readable": share(readable)["value"]},
        "pair_accuracy": share(sums),
    }


def _positional(items: Sequence[Labelled]) -> dict[str, Any] | None:
    both = [item.votes for item in items if len(item.votes) > 1]
    if not both:
        return None
    readable = [len(set(votes)) == 1 for votes in both if None not in votes]
    return share(len(set(votes)) == 1 for votes in both) | {"readable": share(readable)["value"]}


def _plurality(items: Sequence[Labelled]) -> dict[str, Any]:
    """Return how often the side with most votes of all judges and orders is right; a tie half."""
    points = []
    for item in items:
        if item.label is not None:
            counts = Counter(vote for vote in item.votes if vote is not None)
            most = [side for side, n in counts.items() if n == max(counts.values())]
            winner = most[0] if len(most) == 1 else "tie"
            points.append(1.0 if winner == item.label else 0.5 if winner == "tie" else 0.0)
    return share(points)


def _macro(pairs: Sequence[tuple[Winner | None, Winner | None]]) -> dict[str, float | None]:
    """Return precision, recall and F1 averaged over sides; 0 where a side is never given."""
    sides = {side for pair in pairs for side in pair} - {None}
    rates = []
    for side in sides:
        both = sum(label == vote == side for label, vote in pairs)
        given, wanted = (sum(pair[at] == side for pair in pairs) for at in (1, 0))
        rates.append(
            (both / given if given else 0.0, both / wanted if wanted else 0.0,
             2 * both / (given + wanted))
        )  # fmt: skip
    means = [100 * sum(column) / len(rates) for column in zip(*rates, strict=True)]
    names = ("precision", "recall", "f1")
    return dict(zip(names, means or [None] * len(names), strict=True))


def share(points: Iterable[float]) -> dict[str, Any]:
    """Return the share of points (a tie half) in percent with its interval, for output."""
    values = list(points)
    found = share_score("", sum(values), len(values), reason=_NOTHING)
    return {field: getattr(found, field) for field in ("value", "low", "high", "n")}


def _signed(vote: Winner | None, label: Winner | None) -> int:
    if vote == label:
        return 1
    return 0 if vote in (None, "tie") else -1


def _key(row: Mapping[str, Any], number: int) -> str:
    named = next((row[name] for name in ("item", "pair_id", "idx") if name in row), None)
    return str(number - 1 if named is None else named)


def _side(word: object) -> Winner:
    """Return the side that a word names; raises ValueError for another word."""
    if isinstance(word, bool | list | dict) or word not in _WORDS:
        raise ValueError(f"{word!r} is no side")
    return _WORDS[word]


def _label(row: Mapping[str, Any]) -> Winner | None:
    """Return the label, the majority of several people's, or None without one."""
    people = row.get("labels", [row[name] for name in row if name.startswith("annotator")])
    if not people:
        return None if row.get("label") is None else _side(row["label"])
    (most, count), *_ = Counter(map(_side, people)).most_common()
    return most if 2 * count > len(people) else None


def read_labels(path: Path) -> dict[str, Winner | None]:
    """Read people's labels by pair, None where they have no majority; raises `DataError`."""
    found: dict[str, Winner | None] = {}
    for number, row in read_rows(path):
        if (key := _key(row, number)) in found:
            raise DataError(path, number, f"pair {key} occurs twice")
        try:
            found[key] = _label(row)
        except (TypeError, ValueError) as error:
            raise DataError(
                path, number, f"{error!s:.80}; expected a label (1, A, A>B …)"
            ) from None
    return found


def _llmbar(row: Mapping[str, Any], key: str) -> Labelled:
    last = [result for result in row["results"] if _LLMBAR_ORDERS[0] in result][-1]
    winners = [last[order]["winner"] for order in _LLMBAR_ORDERS]
    return Labelled(key, _label(row), tuple(_WORDS.get(winner) for winner in winners))


def _judgebench(row: Mapping[str, Any], key: str) -> Labelled:
    decisions = [_WORDS.get(one["decision"]) if one else None for one in row["judgments"]]
    votes = (vote if at % 2 == 0 else _SWAPPED[vote] for at, vote in enumerate(decisions))
    source, _, part = str(row.get("source", "")).partition("-")
    known = next((k for k in _JUDGEBENCH if row.get("source", "").startswith(k)), None)
    category = source if known is None else _JUDGEBENCH[known] or part
    return Labelled(key, _label(row), tuple(votes), category)


def _pandalm(row: Mapping[str, Any], key: str) -> Labelled:
    return Labelled(key, _label(row), (_WORDS.get(row["gpt_result"]),), unread="tie")


def _own(row: Mapping[str, Any], key: str) -> Labelled:
    votes = [row[order] for order in _OURS if order in row]
    read = tuple(None if vote is None else _side(vote) for vote in votes)
    return Labelled(key, _label(row), read, str(row.get("category", "")))


_FORMS: dict[str, Callable[[Mapping[str, Any], str], Labelled]] = {
    "results": _llmbar, "judgments": _judgebench, "gpt_result": _pandalm, "ab": _own,
}  # fmt: skip

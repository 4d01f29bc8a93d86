"""Full text search over a run: every word must occur somewhere in a row's texts, in any case.

Searching reads every indexed text; a trigram index (SQLite's FTS5), built in the background, leaves
out most of them. It changes how long a search takes and never what it finds.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from core.errors import DataError, SrlmError
from core.stages import Ref, Stage, is_model
from web.explorer.index.index import folded

if TYPE_CHECKING:
    from core.reader import RunReader
    from web.explorer.index.index import Index

MOST_HITS = 5000
_MOST_WORDS = 20
_GRAM = 3  # characters of a trigram
_MOST_GRAMS = 50  # what they leave is compared letter by letter anyway
_BATCH = 200
_WORDS = re.compile(r'"([^"]+)"|(\S+)')
_UNSEARCHED = (Stage.PAIRS, Stage.SCORES, Stage.HEALTH)  # other artifacts hold the same texts


class Hit(NamedTuple):
    """A row that holds every word."""

    ref: Ref
    key: str


class Hits(NamedTuple):
    """What a search found: at most MOST_HITS rows (`cut`: there are more), counted by artifact.

    `unread` says which artifacts could not be searched, and why.
    """

    hits: list[Hit]
    counts: dict[Ref, int]
    cut: bool
    unread: dict[Ref, str]


class Search:
    """Searches one run; `start` begins to build the trigram index, `close` gives up on it."""

    def __init__(self, run: RunReader, index: Index) -> None:
        """Prepare; nothing is read yet."""
        self._run, self._index = run, index
        self._done: set[int] = set()
        self._stopped = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._has_grams = _make_grams(index)

    def start(self) -> None:
        """Index what is not indexed yet, in a thread of its own."""
        with self._starting:
            busy = self._thread is not None and self._thread.is_alive()
            if self._has_grams and not busy and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._build, name="search", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop building; returns when the thread has ended."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def wait(self) -> None:
        """Return when everything that was there at `start` is indexed."""
        if self._thread is not None:
            self._thread.join()

    def find(self, query: str, only: str = "") -> Hits:
        """Return the rows that hold every word of a query; words in "quotes" must stand together.

        `only` is the beginning of an artifact's address ("iter2", "eval/M2/mt_bench"). A query
        without words finds nothing.
        """
        words = words_of(query)
        refs = [r for r in self._refs() if str(r).startswith(only)] if words else []
        numbers, unread = self._numbers(refs)
        done = [n for n in numbers if n in self._done]
        rest = [n for n in numbers if n not in self._done]
        if rest and self._thread is not None:
            self.start()  # artifacts that were finished since
        rows = self._look(words, done, grams=True) + self._look(words, rest, grams=False)
        order = {number: at for at, number in enumerate(numbers)}
        rows.sort(key=lambda row: (order[row[0]], row[1]))
        hits = [Hit(numbers[number], key) for number, _, key in rows[:MOST_HITS]]
        counts = Counter(hit.ref for hit in hits)
        return Hits(hits, dict(counts), len(rows) > MOST_HITS, unread)

    def _refs(self) -> list[Ref]:
        found = self._run.store.artifacts().values()
        return [ref for ref in found if ref.stage not in _UNSEARCHED and not is_model(ref)]

    def _numbers(self, refs: list[Ref]) -> tuple[dict[int, Ref], dict[Ref, str]]:
        numbers: dict[int, Ref] = {}
        unread: dict[Ref, str] = {}
        for ref in refs:
            try:
                numbers[self._index.number(ref)] = ref
            except SrlmError as error:
                unread[ref] = str(error)
        return numbers, unread

    def _look(
        self, words: list[str], numbers: list[int], *, grams: bool
    ) -> list[tuple[int, int, str]]:
        if not numbers:
            return []
        listed = ", ".join(map(str, numbers))
        clauses, values = ["instr(texts.text, ?) > 0"] * len(words), list(words)
        if grams and (expression := _grams_of(words)):
            clauses.insert(0, "rows.id IN (SELECT rowid FROM grams WHERE grams MATCH ?)")
            values.insert(0, expression)
        found = self._index.query(
            "SELECT rows.artifact, rows.id, rows.key FROM rows JOIN texts ON texts.id = rows.id "  # noqa: S608 - numbers and our own words
            f"WHERE rows.artifact IN ({listed}) AND {' AND '.join(clauses)} LIMIT ?",
            (*values, MOST_HITS + 1),
        )
        return [(int(number), int(at), str(key)) for number, at, key in found]

    def _build(self) -> None:
        numbers, _ = self._numbers(self._refs())
        for number in numbers:
            if number not in self._done and self._add(number):
                self._done.add(number)

    def _add(self, number: int) -> bool:
        """Put an artifact's texts into the trigram index; False if that was given up."""
        last = 0
        while not self._stopped.is_set():
            part = self._index.query(
                "SELECT texts.id, texts.text FROM texts JOIN rows ON rows.id = texts.id "
                "WHERE rows.artifact = ? AND texts.id > ? ORDER BY texts.id LIMIT ?",
                (number, last, _BATCH),
            )
            if not part:
                return True
            self._index.write("INSERT INTO grams (rowid, text) VALUES (?, ?)", part)
            last = part[-1][0]
        return False


def words_of(query: str) -> list[str]:
    """Return the words and quoted phrases of a query as they are searched, at most twenty."""
    found = [quoted or word for quoted, word in _WORDS.findall(folded(query))]
    return [word for word in found if word.strip()][:_MOST_WORDS]


def _make_grams(index: Index) -> bool:
    """Make the table of trigrams; False where this SQLite has none."""
    columns = "text, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1'"
    try:
        index.write(f"CREATE VIRTUAL TABLE grams USING fts5({columns})")
    except DataError:
        return False
    return True


def _grams_of(words: list[str]) -> str:
    """Return the condition that the words' trigrams are there; "" for words without any."""
    grams = {word[at : at + _GRAM] for word in words for at in range(len(word) - _GRAM + 1)}
    chosen = sorted(grams)[:_MOST_GRAMS]
    return " AND ".join('"' + gram.replace('"', '""') + '"' for gram in chosen)

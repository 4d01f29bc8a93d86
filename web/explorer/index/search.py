"""Full-text search over a run: every word must occur somewhere in a row's texts, in any case.

SQLite compares the texts letter by letter (instr). A trigram index (FTS5), filled in the
background, lets it skip most rows; it changes how long a search takes, never what it finds.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from core.errors import SrlmError
from core.stages import Ref, Stage, is_model
from web.explorer.index.index import Index, by_rank, folded

if TYPE_CHECKING:
    from core.reader import RunReader

MOST_HITS = 5000
_MOST_WORDS = 20
_MOST_TRIGRAMS = 50  # the rows they leave are compared letter by letter anyway
_BATCH = 200
_WORDS = re.compile(r'"([^"]+)"|(\S+)')
# Other artifacts hold the same texts.
_UNSEARCHED = (Stage.PAIRS, Stage.JUDGE_PAIRS, Stage.SCORES, Stage.HEALTH)
_TABLE = (
    "CREATE VIRTUAL TABLE trigrams USING fts5"
    "(text, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1')"
)


class Hit(NamedTuple):
    """A row that holds every word. `prompt`: the key of the prompt it is about."""

    ref: Ref
    key: str
    prompt: str


class Hits(NamedTuple):
    """What a search found: at most MOST_HITS rows (`cut`: there are more), counted by artifact.

    `unread` says which artifacts could not be searched, and why.
    """

    hits: list[Hit]
    counts: dict[Ref, int]
    cut: bool
    unread: dict[Ref, str]


class Search:
    """Searches one run; `start` begins to fill the trigram index, `close` stops that."""

    def __init__(self, run: RunReader, index: Index) -> None:
        """Prepare; nothing is read yet."""
        self._run, self._index = run, index
        self.filled = 0  # the id of the last row in the trigram index
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_trigrams = True
        try:
            index.write(_TABLE)
        except SrlmError:  # an SQLite without trigrams
            self._has_trigrams = False

    def start(self) -> None:
        """Fill the trigram index in a thread of its own, unless one is at it."""
        busy = self._thread is not None and self._thread.is_alive()
        if self._has_trigrams and not busy and not self._stopped.is_set():
            self._thread = threading.Thread(target=self._fill, name="search", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop filling the index; returns when the thread has ended."""
        self._stopped.set()
        self.wait()

    def wait(self) -> None:
        """Return when everything that was there at `start` is in the trigram index."""
        if self._thread is not None:
            self._thread.join()

    def find(self, query: str, only: str = "") -> Hits:
        """Return the rows that hold every word of a query; words in "quotes" must stand together.

        `only` is the beginning of an artifact's address ("iter2", "eval/M2/nlp"). A query
        without words finds nothing.
        """
        words = words_of(query)
        if not words:
            return Hits([], {}, cut=False, unread={})
        numbers, unread = self._numbers(only)
        if self._thread is not None:
            self.start()  # for artifacts that were finished since
        clauses, values = self.clauses(query)
        listed = ", ".join(map(str, numbers))
        found = self._index.query(
            "SELECT artifact, key, prompt FROM rows "  # noqa: S608 - numbers and our own words
            f"WHERE {' AND '.join(clauses)} AND +artifact IN ({listed}) "
            f"ORDER BY {by_rank(numbers)}, id LIMIT ?",
            (*values, MOST_HITS + 1),
        )
        hits = [Hit(numbers[artifact], key, prompt) for artifact, key, prompt in found[:MOST_HITS]]
        counts = Counter(hit.ref for hit in hits)
        return Hits(hits, dict(counts), len(found) > MOST_HITS, unread)

    def clauses(self, query: str) -> tuple[list[str], list[str]]:
        """Return the SQL conditions on `rows` that every word occurs, and their values."""
        words = words_of(query)
        clauses = ["instr((SELECT text FROM texts WHERE texts.id = rows.id), ?) > 0"] * len(words)
        values = list(words)
        if self.filled and (expression := _trigrams_of(words)):
            matching = "SELECT rowid FROM trigrams WHERE trigrams MATCH ?"
            clauses.insert(0, f"(id > {self.filled} OR id IN ({matching}))")
            values.insert(0, expression)
        return clauses, values

    def _numbers(self, only: str = "") -> tuple[dict[int, Ref], dict[Ref, str]]:
        """Read the artifacts to be searched; return them by number, and why others cannot be."""
        numbers: dict[int, Ref] = {}
        unread: dict[Ref, str] = {}
        for address, ref in self._run.store.artifacts().items():
            if ref.stage in _UNSEARCHED or is_model(ref) or not address.startswith(only):
                continue
            try:
                numbers[self._index.number(ref)] = ref
            except SrlmError as error:
                unread[ref] = str(error)
        return numbers, unread

    def _fill(self) -> None:
        self._numbers()
        sql = "SELECT id, text FROM texts WHERE id > ? ORDER BY id LIMIT ?"
        while not self._stopped.is_set() and (
            part := self._index.query(sql, (self.filled, _BATCH))
        ):
            self._index.write("INSERT INTO trigrams (rowid, text) VALUES (?, ?)", part)
            self.filled = part[-1][0]


def words_of(query: str) -> list[str]:
    """Return the words and quoted phrases of a query as they are searched, at most twenty."""
    found = [quoted or word for quoted, word in _WORDS.findall(folded(query))]
    return [word for word in found if word.strip()][:_MOST_WORDS]


def _trigrams_of(words: list[str]) -> str:
    """Return the FTS5 query that the words' trigrams occur; "" for words without any."""
    found = {word[at : at + 3] for word in words for at in range(len(word) - 2)}
    chosen = sorted(found)[:_MOST_TRIGRAMS]
    return " AND ".join('"' + trigram.replace('"', '""') + '"' for trigram in chosen)

"""When the next request may be sent: rate limit, a server's own wishes, back-off."""

from __future__ import annotations

import random
import threading
import time

_LONGEST_BACKOFF_S = 60.0


class Pace:
    """Keeps requests apart; shared by all of a judge's requests, from any thread."""

    def __init__(self, per_minute: float | None, *, backoff_s: float, seed: int) -> None:
        """Begin without a wait.

        Args:
            per_minute: requests, None for no limit.
            backoff_s: pause after a first failed attempt; doubles with each further one.
            seed: of the jitter.
        """
        self._interval_s = 60 / per_minute if per_minute is not None else 0.0
        self._backoff_s = backoff_s
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._next = 0.0

    def turn(self) -> float:
        """Take the next free turn; return the seconds until then (0 for at once)."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            if self._interval_s:
                self._next = turn + self._interval_s
            return turn - now

    def hold(self, seconds: float) -> None:
        """Let nobody have a turn before so many seconds have passed."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def backoff(self, attempt: int, asked_for_s: float | None = None) -> float:
        """Return the pause after a failed attempt (the first is 0), in seconds.

        It is half to one and a half times `backoff_s`·2^attempt, at most 90 s; or what the server
        asked for and a little more, so that not all come back at once.
        """
        with self._lock:
            jitter = self._random.random()
        if asked_for_s is not None:
            return asked_for_s + self._backoff_s * jitter
        return float(min(_LONGEST_BACKOFF_S, self._backoff_s * 2.0**attempt) * (0.5 + jitter))

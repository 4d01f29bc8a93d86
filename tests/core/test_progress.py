import io
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console
from rich.progress import Task, TaskID

from core import progress
from core.progress import _plain, _RateColumn, duration, say, track


def clock(*seconds: float) -> Callable[[], float]:
    """Return a clock that shows these times, one per look."""
    times: Iterator[float] = iter(seconds)
    return lambda: next(times)


@pytest.mark.parametrize(
    ("seconds", "read"),
    [
        (0.0, "0.0 s"),
        (8.44, "8.4 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),  # would round to 60.0 s
        (60.0, "1 min 00 s"),
        (200.0, "3 min 20 s"),  # 3 * 60 + 20
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7500.0, "2 h 05 min"),  # 2 * 3600 + 5 * 60
        (360000.0, "100 h 00 min"),
    ],
)
def test_a_duration_reads_as_people_say_it(seconds: float, read: str) -> None:
    assert duration(seconds) == read


def test_a_plain_line_says_how_much_is_done_and_how_long_the_rest_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # 2 rows in 20 s are 10 s a row: the 8 left take 80 s.
    with _plain("judging", 10, 0, clock(0, 10, 20)) as advance:
        advance()
        assert capsys.readouterr().err == ""  # 10 s: too early for a line
        advance()
    assert capsys.readouterr().err == "  judging: 2/10, about 1 min 20 s left\n"


def test_rows_of_an_earlier_run_are_done_but_took_no_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # 6 of 10 were there. 2 new rows in 20 s are 10 s a row: 2 left, 20 s.
    with _plain("judging", 10, 6, clock(100, 120)) as advance:
        advance(2)
    assert capsys.readouterr().err == "  judging: 8/10, about 20.0 s left\n"


def test_the_rate_is_in_tokens_once_any_were_reported(capsys: pytest.CaptureFixture[str]) -> None:
    # 100 + 200 tokens in 20 s: 15 per second. 2 rows in 20 s, 2 left: 20 s.
    with _plain("answers", 4, 0, clock(0, 1, 20)) as advance:
        advance(tokens=100)
        advance(tokens=200)
    assert capsys.readouterr().err == "  answers: 2/4, 15 tokens/s, about 20.0 s left\n"


def test_plain_lines_come_at_most_every_fifteen_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Lines at 15 s and at 31 s; 29.9 s is 14.9 s after the last line.
    with _plain("judging", 100, 0, clock(0, 14.9, 15, 29.9, 31)) as advance:
        for _ in range(4):
            advance()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["  judging: 2/100", "  judging: 4/100"]


def test_the_last_row_prints_no_line_because_the_summary_follows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with _plain("judging", 2, 0, clock(0, 20, 40)) as advance:
        advance()
        advance()
    assert capsys.readouterr().err == "  judging: 1/2, about 20.0 s left\n"


def test_progress_that_is_not_on_a_terminal_writes_no_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with track("judging", 2) as advance:
        advance()
        advance()
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")  # done within 15 s: nothing to say


def test_what_is_said_goes_to_stderr_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]iter2/pairs[/bold]: 12 rows " + "long " * 50)
    out, err = capsys.readouterr()
    assert out == ""  # results only
    assert err == "[bold]iter2/pairs[/bold]: 12 rows " + "long " * 50 + "\n"


def test_a_terminal_shows_a_bar_with_what_is_done_of_how_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120, legacy_windows=False)
    monkeypatch.setattr(progress, "console", terminal)
    with track("judging", 10, resumed=6) as advance:
        advance(2)
    assert "judging" in screen.getvalue()
    assert "8/10" in screen.getvalue()


def task(*, done: int, resumed: int, tokens: int, began: float, now: float) -> Task:
    fields = {"tokens": tokens, "resumed": resumed}
    shown = Task(TaskID(0), "judging", 10, done, lambda: now, fields=fields)
    shown.start_time = began
    return shown


def test_the_bars_rate_leaves_out_rows_of_an_earlier_run() -> None:
    # 8 rows, 6 of them from an earlier run: 2 in 20 s.
    found = _RateColumn().render(task(done=8, resumed=6, tokens=0, began=5, now=25))
    assert found == "0.1 rows/s"


def test_the_bars_rate_is_in_tokens_once_any_were_reported() -> None:
    # 300 tokens in 20 s.
    found = _RateColumn().render(task(done=8, resumed=6, tokens=300, began=5, now=25))
    assert found == "15.0 tokens/s"


def test_a_bar_that_has_just_begun_shows_no_rate() -> None:
    assert _RateColumn().render(task(done=0, resumed=0, tokens=0, began=5, now=5)) == ""

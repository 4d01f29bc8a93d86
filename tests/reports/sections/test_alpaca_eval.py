from __future__ import annotations

from pathlib import Path
from typing import Any

from core.reader import RunReader
from core.records import Generation, Score
from core.stages import Stage, evaluation_ref
from reports.document import Published, Table, TableRow
from reports.sections.alpaca_eval import win_rates as alpaca_eval
from tests.reports.runs import RunBuilder, imported, score

ONE = {"benchmarks": ["alpaca_eval"], "models": ["M0", "sft", "M1"]}
HUB = {"hub:alpaca_eval prompts": "h"}


def lc(value: float, n: int, missing: int = 0, **detail: Any) -> Score:
    found = {"variant": "length_controlled_v1", **detail}
    return score("length_controlled_win_rate", value, n, missing, detail=found)


def made(results: RunReader) -> Table:
    found = alpaca_eval.table(results)
    assert found is not None
    return found


def row(table: Table, label: str) -> TableRow:
    return next(row for row in table.rows if row.label == label)


def like_the_leaderboard(run: RunBuilder) -> RunBuilder:
    """M1 on all 805 prompts, judged as the leaderboard is."""
    address = "M1/alpaca_eval"
    answers = [Generation(str(k), str(k), "?", "!", 1, "stop") for k in range(805)]
    run.rows(evaluation_ref(address, Stage.ANSWERS), answers, inputs=HUB)
    run.judged(
        address,
        Stage.ANNOTATIONS,
        config={"evaluation.alpaca_eval.reference": "hub"},
        facts={"annotator": "weighted_alpaca_eval_gpt4_turbo"},
    )
    return run.scores(address, score("win_rate", 12.5, 800, 5), lc(11.0, 800, 5), Score(
        "avg_length", 1100.4, 805))  # fmt: skip


def test_a_model_has_raw_and_controlled_win_rate_and_length_with_n(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE)
    run.scores("M1/alpaca_eval", score("win_rate", 12.5, 8, 2), lc(11.0, 8, 2), Score(
        "avg_length", 1100.4, 10))  # fmt: skip
    raw, controlled, length = row(made(run.open()), "M1").cells

    assert (raw.value, raw.low, raw.high, raw.n, raw.missing) == (12.5, 11.5, 13.5, 8, 2)
    assert (controlled.value, controlled.n, controlled.missing) == (11.0, 8, 2)
    assert (length.value, length.n, length.digits) == (1100.4, 10, 0)
    assert {raw.rows, controlled.rows, length.rows} == {"M1/alpaca_eval"}


def test_models_without_scores_are_missing_with_their_reasons(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE).model("M0").failed(**{"M0__alpaca_eval": "x"})
    table = made(run.open())

    assert [r.label for r in table.rows] == ["M0", "SFT baseline", "M1"]
    assert row(table, "M0").cells[0].reason == "failed: x"
    assert row(table, "SFT baseline").cells[0].reason == "sft is not trained yet"
    assert all(cell.value is None for r in table.rows for cell in r.cells)


def test_under_the_papers_conditions_its_numbers_stand_in_the_cells(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE).model("M0", base="llama-2-70b")
    table = made(like_the_leaderboard(run).open())
    raw, controlled, length = row(table, "M1").cells

    assert raw.published == Published(9.94, "Table 1")
    assert controlled.published is None  # the paper has none
    assert length.published == Published(1092.0, "mean response length per iteration")
    assert not any(note.startswith("Not comparable with") for note in table.notes)
    assert not any("(paper)" in r.label for r in table.rows)


def test_the_leaderboards_models_need_no_llama(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE).model("M0", origin="a small model")
    table = made(like_the_leaderboard(run).open())
    others = [r for r in table.rows if r.kind == "published"]

    assert row(table, "M1").cells[0].published is None
    assert [r.label for r in others][:4] == [
        "Self-Rewarding 70B M1 (paper)",
        "Self-Rewarding 70B M2 (paper)",
        "Self-Rewarding 70B M3 (paper)",
        "GPT-4 0314",
    ]
    assert row(table, "Claude 2").cells[0].value == 17.19
    assert row(table, "Claude 2").cells[1].value == 28.16
    assert row(table, "Gemini Pro").cells[1].value is None  # nothing known here
    assert table.notes[-1] == (
        "Not comparable with published results: the base model is a small model, not Llama 2 70B."
    )


def test_another_judge_keeps_every_published_number_away(tmp_path: Path) -> None:
    judge = {"judge": {"backend": "model", "model": "M1"}}
    run = RunBuilder(tmp_path).config(evaluation={**ONE, **judge})
    table = made(run.model("M0", base="llama-2-70b").open())

    assert all(r.kind == "measured" for r in table.rows)
    assert all(cell.published is None for r in table.rows for cell in r.cells)
    assert "the judge is this run's M1, the leaderboard's is gpt-4-1106-preview" in table.notes[-1]


def test_the_variant_of_length_control_is_named_with_its_remark(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE)
    run.scores("M0/alpaca_eval", score("win_rate", 1, 9), lc(1, 9, variant="length_only"))
    run.scores("M1/alpaca_eval", score("win_rate", 1, 9), lc(1, 9, note="no fit was needed"))
    notes = made(run.open()).notes

    assert any(n.startswith("Length control of M0: variant length_only (a fit on") for n in notes)
    assert any(n.startswith("Length control of M1: variant length_controlled_v1") for n in notes)
    assert "M1, length control: no fit was needed." in notes


def test_a_recorded_model_stands_beside_what_was_published_of_it(tmp_path: Path) -> None:
    run = imported(
        tmp_path, "claude-2", score("win_rate", 17.1882, 805), lc(28.16, 805), Score(
            "avg_length", 1069.8, 805))  # fmt: skip
    table = made(run.open())
    raw, controlled, _ = row(table, "claude-2").cells

    assert raw.published == Published(17.19, "Table 1")
    assert controlled.published == Published(28.16, "AlpacaEval leaderboard")
    labels = [r.label for r in table.rows]
    assert "Claude 2" not in labels  # it has been measured
    assert "Humpback LLaMa2 70B" in labels
    assert not any(note.startswith("Not comparable with") for note in table.notes)
    assert any("Judge: weighted_alpaca_eval_gpt4_turbo; reference: gpt4_1106" in n
               for n in table.notes)  # fmt: skip


def test_a_length_only_fit_never_stands_beside_the_leaderboards(tmp_path: Path) -> None:
    rates = (score("win_rate", 17.2, 805), lc(20.0, 805, variant="length_only"))
    table = made(imported(tmp_path, "claude-2", *rates).open())

    assert row(table, "claude-2").cells[0].published is not None
    assert row(table, "claude-2").cells[1].published is None


def test_a_published_file_that_lacks_rows_stands_beside_its_numbers_by_row(tmp_path: Path) -> None:
    name, raw = "text_davinci_001", score("win_rate", 2.764, 803)
    both: dict[str, Any] = {
        "by_row": 9.01,
        "by_instruction": 6.48,
        "note": "9.01 by row, 6.48 by instruction",
    }
    table = made(imported(tmp_path / "a", name, raw, lc(9.01, 803, 0, **both)).open())
    cells = row(table, name).cells

    assert cells[0].published == Published(2.76, "Table 1")
    assert cells[1].published == Published(9.03, "AlpacaEval leaderboard")
    assert "text_davinci_001: the file has 803 of 805 prompts." in table.notes
    assert any("6.48 by instruction" in note for note in table.notes)
    for other in (lc(6.48, 803), lc(6.48, 803, 0, **both)):
        table = made(imported(tmp_path / f"b{len(other.detail or {})}", name, raw, other).open())
        assert row(table, name).cells[1].published is None


def test_an_unknown_recorded_model_has_nothing_beside_it(tmp_path: Path) -> None:
    table = made(imported(tmp_path, "my-model", score("win_rate", 50.0, 805)).open())

    assert row(table, "my-model").cells[0].published is None


def test_recorded_results_by_another_annotator_say_so(tmp_path: Path) -> None:
    won = score("win_rate", 17.0, 805)
    table = made(imported(tmp_path, "claude-2", won, annotator="chatgpt_fn").open())

    assert row(table, "claude-2").cells[0].published is None
    assert [r.label for r in table.rows] == ["claude-2"]
    assert table.notes[-1].startswith(
        "Not comparable with published results: the annotator of claude-2.json is chatgpt_fn"
    )


def test_without_interest_and_without_scores_there_is_no_table(tmp_path: Path) -> None:
    assert alpaca_eval.table(RunBuilder(tmp_path).open()) is None


def test_the_real_recorded_files_print_their_published_win_rates(
    tmp_path: Path, shared: Path
) -> None:
    from reports.document import Report, Section
    from reports.formats import markdown
    from tests.evaluation.imports import import_results

    names = ("alpaca-7b", "humpback-llama2-70b", "claude-2", "text_davinci_001")
    files = [shared / "data" / "alpaca_eval" / f"{name}.annotations.json.gz" for name in names]
    import_results(tmp_path, files)
    table = made(RunReader(tmp_path))
    text = markdown.render(Report("r", (), (Section("s", "s", tables=(table,)),)))

    for value in ("2.59", "10.12", "17.19", "2.76"):
        line = next(one for one in text.splitlines() if f"published: {value} (Table 1)" in one)
        assert f" {value} [" in line

from __future__ import annotations

from pathlib import Path

from core.hashing import sha256_file
from core.stages import Stage, evaluation_ref
from reports.sections import head_to_head as judge_of_pairs
from reports.sections import paper as paper_tables
from reports.sections import summary
from tests.conftest import ROOT
from tests.reports.runs import RunBuilder, imported, score

ONLY = {"models": ["M0", "sft", "M1"], "benchmarks": ["mt_bench"]}


def said(builder: RunBuilder) -> str:
    (section,) = summary.SECTION.build(builder.open())
    return " ".join(section.paragraphs)


def test_the_summary_counts_what_is_done_failed_and_not_tried(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONLY)
    run.scores("M0/mt_bench", score("overall", 5.0, 160)).failed(sft__mt_bench="disk full")
    text = said(run)
    assert "1 of 3 evaluations are done." in text
    assert "Failed: sft/mt_bench (disk full)." in text
    assert "Not measured yet: MT-Bench 1." in text


def test_an_evaluation_without_a_number_is_not_passed_over(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONLY)
    run.scores("M0/mt_bench", score("overall", None, 0, 16, reason="no judgment has a score"))
    assert "1 of them have no score, because no reply could be parsed" in said(run)
    assert "(M0/mt_bench)" in said(run)


def test_scores_by_the_rules_of_an_earlier_release_are_named(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONLY)
    run.scores("M0/mt_bench", score("overall", 5.0, 160))
    assert "earlier release" not in said(run)
    run.rows(evaluation_ref("M1/mt_bench", Stage.SCORES), [score("overall", 5.0, 160)])
    assert "1 of them were scored by an earlier release's rules (M1/mt_bench)" in said(run)


def test_a_judge_that_is_no_gpt_4_is_named(tmp_path: Path) -> None:
    graded = score("overall", 5.0, 160)
    local = {**ONLY, "judge": {"backend": "model", "model": "M1"}}
    run = RunBuilder(tmp_path / "local").config(evaluation=local).scores("M1/mt_bench", graded)
    by_m1 = {"evaluation.judge.backend": "model", "evaluation.judge.model": "M1"}
    run.rows(evaluation_ref("M1/mt_bench", Stage.TURN_JUDGMENTS), [], config=by_m1)
    assert "by this run's M1 (a local model instead of GPT-4): scores reflect this" in said(run)
    run = RunBuilder(tmp_path / "api").config(evaluation=ONLY)
    assert "graded by" not in said(run)  # nobody judged yet
    run.judged("M1/mt_bench", Stage.TURN_JUDGMENTS).scores("M1/mt_bench", graded)
    assert "graded by gpt-4-1106-preview (OpenAI protocol)." in said(run)


def test_the_judge_and_the_sample_are_those_of_the_manifests_whatever_the_config_says(
    tmp_path: Path,
) -> None:
    """Judged by a local model on the packaged sample; then config.json changes, then it is gone."""
    run = RunBuilder(tmp_path).model("M0").config(evaluation=ONLY)
    by_m1 = {"evaluation.judge.backend": "model", "evaluation.judge.model": "M1"}
    run.rows(evaluation_ref("M1/mt_bench", Stage.TURN_JUDGMENTS), [], config=by_m1)
    run.scores("M1/mt_bench", score("overall", 5.0, 160))
    run.items("M1/nlp/piqa", {"piqa/0": 1.0}, data="sample").scores("M1/nlp/piqa")
    prompts = {"prompts": sha256_file(ROOT / "data" / "sample" / "prompts.trees.jsonl")}
    run.rows(evaluation_ref("M1/head_to_head", Stage.ANSWERS), [], inputs=prompts)
    judge = {"backend": "openai", "model": "gpt-4.1"}
    head_to_head, nlp = {"prompts": "mine.jsonl"}, {"data_dir": "mine"}
    run.config(evaluation={**ONLY, "judge": judge, "nlp": nlp, "head_to_head": head_to_head})
    for gone in (False, True):
        if gone:
            (tmp_path / "config.json").unlink()
        text = said(run)
        assert "graded by this run's M1 (a local model instead of GPT-4)" in text
        assert "gpt-4.1" not in text
        assert "Sample data: head to head, NLP benchmarks" in text
        assert "imported" not in text


def test_sample_data_is_named_as_such(tmp_path: Path) -> None:
    sample = {**ONLY, "nlp": {"data_dir": "sample"}, "head_to_head": {"prompts": "a.jsonl"}}
    text = said(RunBuilder(tmp_path).config(evaluation=sample))
    assert "Sample data: NLP benchmarks" in text
    assert "head to head" not in text


def test_the_table_has_a_cell_with_a_reason_for_what_is_missing(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONLY)
    run.scores("M0/mt_bench", score("overall", 5.0, 160, 2))
    (section,) = summary.SECTION.build(run.open())
    (table,) = section.tables
    at = table.columns.index("MT-Bench")
    first, second, _ = table.rows
    assert (first.cells[at].value, first.cells[at].n, first.cells[at].missing) == (5.0, 160, 2)
    assert first.cells[at].rows == "M0/mt_bench"
    assert second.label == "SFT baseline"
    assert second.cells[at].value is None
    assert second.cells[at].reason == "sft is not trained yet"


def test_imported_results_claim_no_run(tmp_path: Path) -> None:
    text = said(imported(tmp_path, "claude-2", score("win_rate", 17.19, 805)))
    assert "1 of 1 evaluations are done." in text
    assert "imported from recorded files" in text


def test_the_judge_of_pairs_is_shown_in_percent(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation={"benchmarks": ["head_to_head"]})
    assert judge_of_pairs.judge_table(run.open()) is None
    run.scores(
        "head_to_head/M1-sft",
        score("judge/flip_rate", 0.25, 8, low=None, high=None),
        score("judge/longer_wins", -0.5, 8, low=None, high=None),
    )
    table = judge_of_pairs.judge_table(run.open())
    assert table is not None
    (row,) = table.rows
    found = dict(zip(table.columns, row.cells, strict=True))
    assert (found["flipped by order %"].value, found["longer wins"].value) == (25.0, -0.5)
    assert found["tied %"].reason == "not measured"


def test_the_papers_tables_are_published_through_and_through() -> None:
    section = paper_tables.section()
    rows = [row for table in section.tables for row in table.rows]
    assert all(row.kind == "published" for row in rows)
    assert all(cell.value is None and cell.published for row in rows for cell in row.cells)
    by_key = {table.key: table for table in section.tables}
    # Table 1: M3 20.44 stands between Mistral Medium 21.86 and Claude 2 17.19.
    names = [row.label for row in by_key["paper_alpaca_eval"].rows]
    assert names.index("Mistral Medium") < names.index("M3") < names.index("Claude 2")
    m3 = by_key["paper_agreement"].rows[-1]
    assert [cell.published.value for cell in m3.cells if cell.published] == [
        81.7, 43.2, 14.3, 0.349, 0.324,
    ]  # fmt: skip
    assert "not from this run" in section.paragraphs[0]

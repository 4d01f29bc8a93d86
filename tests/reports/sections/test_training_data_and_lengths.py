"""The tables of training data, answer lengths and human evaluation."""

from __future__ import annotations

from pathlib import Path

from core.reader import RunReader
from core.records import (
    Candidate,
    Example,
    Generation,
    JudgeExample,
    LedgerRow,
    Prompt,
    RankedPrompt,
    Reply,
    Score,
)
from core.stages import Ref, Stage, evaluation_ref
from core.store import Built
from reports.document import Published
from reports.sections import human, lengths, training_data
from tests.reports.runs import RunBuilder, imported, score


def counts(results: RunReader) -> dict[str, float | None]:
    table = training_data.table(results)
    assert table is not None
    return {row.label: row.cells[0].value for row in table.rows}


def trained(tmp_path: Path) -> RunBuilder:
    """Two IFT examples, one EFT example, three held-out replies, and one iteration."""
    replies = tuple(Reply(f"r{k}", "x", k) for k in range(3))
    return (
        RunBuilder(tmp_path)
        .config(iterations=3)
        .rows(Ref(1, Stage.IFT), [Example("a", "?", "!"), Example("b", "?", "!")])
        .rows(Ref(1, Stage.EFT), [JudgeExample("a", "?", "!", "4", 4.0, "written")])
        .rows(
            Ref(1, Stage.RANKED),
            [RankedPrompt("p", "?", replies, "eval"), RankedPrompt("q", "?", replies[:2], "train")],
        )
        .rows(
            Ref(2, Stage.PROMPTS),
            [Prompt("p", "?", None, 0), Prompt("q", "?", "too_short", 0)],
            built=Built(counts={"kept": 1}),
        )
        .rows(
            Ref(2, Stage.CANDIDATES), [Candidate(f"c{k}", "p", k, "!", 1, "stop") for k in range(2)]
        )
        .rows(
            Ref(2, Stage.PAIRS),
            [LedgerRow("p", "?", "tie", (1.0, 1.0), (1, 1))],
            built=Built(counts={"tie": 1}),
        )
    )


def test_every_kind_of_training_data_is_counted(tmp_path: Path) -> None:
    found = counts(trained(tmp_path).open())

    assert found["IFT examples"] == 2
    assert found["EFT examples (training)"] == 1
    assert found["EFT evaluation split (ranked replies)"] == 3
    assert found["prompts kept for M2"] == 1
    assert found["candidates by M1"] == 2


def test_an_iteration_without_a_pair_has_0_pairs_and_one_not_made_has_none(tmp_path: Path) -> None:
    table = training_data.table(trained(tmp_path).open())
    assert table is not None
    cells = {row.label: row.cells[0] for row in table.rows}

    made = cells["preference pairs AIFT(M1), for M2"]
    assert (made.value, made.n, made.rows) == (0, 1, "pairs/iter2")
    later = cells["preference pairs AIFT(M2), for M3"]
    assert (later.value, later.reason, later.rows) == (None, "not made yet", "")


def test_the_papers_counts_stand_beside_as_sizes(tmp_path: Path) -> None:
    table = training_data.table(trained(tmp_path).open())
    assert table is not None
    published = [row.cells[0].published for row in table.rows]

    assert [one.value for one in published if one is not None] == [3200, 1630, 541, 3964, 6942]
    assert "they are sizes, not results" in table.notes[0]


def test_the_papers_counts_do_not_stand_beside_those_of_the_sample(tmp_path: Path) -> None:
    table = training_data.table(trained(tmp_path).config(ift={"source": "sample"}).open())
    assert table is not None

    assert [row.cells[0].published for row in table.rows] == [None] * len(table.rows)
    assert table.rows[0].cells[0].value == 2
    assert "packaged sample" in table.notes[0]


def test_a_real_run_has_the_counts_of_its_manifests(smoke_run: Path) -> None:
    results = RunReader(smoke_run)
    found = counts(results)
    kept = {k: results.manifest(Ref(k, Stage.PROMPTS)).counts["kept"] for k in (2, 3)}

    assert found["IFT examples"] == 16
    assert found["EFT examples (training)"] == 64
    assert (found["prompts kept for M2"], found["prompts kept for M3"]) == (kept[2], kept[3])
    assert kept[3] > 0
    assert found["candidates by M2"] == 4 * kept[3]


def test_imported_results_have_no_training_data_and_no_human_evaluation(tmp_path: Path) -> None:
    results = imported(tmp_path, "claude-2", score("win_rate", 17.0, 805)).open()

    assert training_data.table(results) is None
    assert human.table(results) is None


def with_answers(run: RunBuilder, model: str, *, cut: int = 0) -> RunBuilder:
    """Three answers of 10 characters on average, and a prompt that was too long."""
    rows = [Generation(str(k), str(k), "?", "!", 1, "stop") for k in range(4)]
    finishes = {"finish_stop": 3 - cut, "finish_length": cut, "finish_too_long": 1}
    built = Built(counts=finishes, facts={"mean_characters": 10.5})
    return run.rows(evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), rows, built=built)


BOTH = {"benchmarks": ["head_to_head", "alpaca_eval"], "models": ["M0", "M1"]}


def test_lengths_are_means_over_the_answers_given(tmp_path: Path) -> None:
    run = with_answers(RunBuilder(tmp_path).config(evaluation=BOTH), "M1", cut=2)
    run.scores("M1/alpaca_eval", Score("avg_length", 99.4, 7, 1))
    table = lengths.table(run.open())
    assert table is not None
    first, second, reference = table.rows[1].cells

    assert (first.value, first.n, first.missing) == (10.5, 3, 1)
    assert (second.value, second.n, second.missing) == (99.4, 7, 1)
    assert reference.reason == "not measured"
    assert "Head-to-head answers that were cut by the token limit: M1 50 %." in table.notes
    assert table.rows[0].cells[0].reason == "M0 is not trained yet"


def test_thoughts_that_were_removed_or_cut_are_counted_beside_the_lengths(tmp_path: Path) -> None:
    counts = {"finish_stop": 3, "finish_cut_off": 1, "thinking_removed": 4}
    ref = evaluation_ref("M1/head_to_head", Stage.ANSWERS)
    rows = [Generation(str(k), str(k), "?", "!", 1, "stop") for k in range(4)]
    run = RunBuilder(tmp_path).config(evaluation=BOTH)
    run.rows(ref, rows, built=Built(counts=counts, facts={"mean_characters": 10.5}))
    table = lengths.table(run.open())
    assert table is not None
    cell = table.rows[1].cells[0]
    assert (cell.n, cell.missing) == (3, 1)
    assert [note for note in table.notes if "thought" in note] == [
        "Head-to-head answers that came after a thought, which is no part of them: M1 100 %.",
        "Head-to-head answers that are missing, because the token limit cut the thought before "
        "them: M1 25 %.",
    ]


def test_the_papers_lengths_stand_beside_its_own_model_and_prompts_alone(tmp_path: Path) -> None:
    def published(folder: str, base: str) -> Published | None:
        run = RunBuilder(tmp_path / folder).config(evaluation=BOTH).model("M0", base=base)
        table = lengths.table(run.open())
        assert table is not None
        return table.rows[1].cells[1].published

    assert published("a", "Llama-2-70b-hf") == Published(
        1092.0, "mean response length per iteration"
    )
    assert published("b", "gemma") is None


def test_recorded_answers_have_lengths_and_no_head_to_head_column(tmp_path: Path) -> None:
    table = lengths.table(imported(tmp_path, "claude-2", Score("avg_length", 1069.8, 805)).open())
    assert table is not None

    assert table.columns == ("AlpacaEval prompts", "AlpacaEval's reference")
    assert table.rows[0].cells[0].value == 1069.8
    assert table.rows[0].cells[0].published is None


def test_without_answers_and_without_interest_there_is_no_table_of_lengths(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation={"benchmarks": ["nlp"]})

    assert lengths.table(run.open()) is None


def test_human_evaluation_is_missing_with_its_reason(tmp_path: Path) -> None:
    table = human.table(RunBuilder(tmp_path).config().model("M0").open())
    assert table is not None
    cells = [cell for row in table.rows for cell in row.cells]

    assert [row.label for row in table.rows] == [f"M{k} vs SFT baseline" for k in (1, 2, 3)]
    assert {cell.reason for cell in cells} == {"there is no human study of this run"}
    assert all(cell.value is None and cell.published is None for cell in cells)


def test_the_papers_human_evaluation_stands_beside_its_own_model(tmp_path: Path) -> None:
    table = human.table(RunBuilder(tmp_path).config().model("M0", base="llama-2-70b").open())
    assert table is not None

    assert table.rows[2].cells[0].published == Published(66.0, "Figure 5")

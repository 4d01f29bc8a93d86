"""Every number of the reference sheet is in reports/published/paper.toml, and nothing else is."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from core.errors import DataError
from reports.document import Published
from reports.published.published import PAPER, SIZES, of_paper, of_recorded, read_published, rows_of

NAMES = {"SFT": "sft", "Llama 2": "M0", "SFT, Li prompt": "sft_li"}
_NUMBER = r"(-?[\d,]+(?:\.\d+)?)"


@pytest.fixture(scope="module")
def sheet(shared: Path) -> str:
    path = shared / "reference" / "paper.md"
    if not path.is_file():
        pytest.skip(f"no reference sheet at {path}")
    return path.read_text(encoding="utf-8")


def section(sheet: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}.*?\n(.*?)(?=^## |\Z)", sheet, re.M | re.S)
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if set("".join(row)) - set("-")]


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def our_name(name: str) -> str:
    return NAMES.get(name, name)


def table(benchmark: str) -> dict[str, tuple[float, ...]]:
    return next(t.rows for t in PAPER.tables if (t.benchmark, t.kind) == (benchmark, "paper"))


def by_matchup(benchmark: str) -> dict[tuple[str, str], tuple[float, ...]]:
    split = {name.partition("-"): values for name, values in table(benchmark).items()}
    return {(a, b): values for (a, _, b), values in split.items()}


def test_figure_3_is_there_row_by_row(sheet: str) -> None:
    found = {}
    for who, *values in rows(section(sheet, "Figure 3"))[1:]:
        left, right = who.split(" vs ")
        found[our_name(left), our_name(right)] = tuple(map(number, values))

    assert len(found) == 6
    assert found == by_matchup("head_to_head")
    assert f"n={SIZES.head_to_head_prompts}," in sheet


def test_figure_5_is_there(sheet: str) -> None:
    said = re.search(r"Figure 5, human evaluation \((\d+) prompts.*?W/T/L vs SFT: (.*?)\.", sheet)
    assert said is not None
    each = re.findall(r"(M\d) (\d+)/(\d+)/(\d+)", said[2])

    assert int(said[1]) == SIZES.human_prompts
    assert {(m, "sft"): tuple(map(float, rest)) for m, *rest in each} == by_matchup("human")


def test_table_1_is_there_with_the_leaderboards_models_in_its_order(sheet: str) -> None:
    line = next(x for x in section(sheet, "Table 1").splitlines() if x.startswith("M1 9.94"))
    named = dict(re.findall(r"([A-Z][^,;]*?) (\d+\.\d\d)(?=[,;.])", line.split("(The base")[0]))

    ours = rows_of("alpaca_eval", "win_rate")
    others = rows_of("alpaca_eval", "win_rate", "leaderboard")
    assert {**ours, **others} == {name.strip(): float(v) for name, v in named.items()}
    assert list(others) == sorted(others, key=lambda name: -others[name])


def test_response_lengths_and_categories_are_there(sheet: str) -> None:
    lengths = re.search(r"length per iteration (\d+) / (\d+) / (\d+)", sheet)
    counts = re.search(r"Table 6 categories of the (\d+) prompts: (.*?)\. Figure 4", sheet)
    assert lengths is not None and counts is not None
    each = re.findall(r"([A-Z][A-Za-z/]*) (\d+)", counts[2])

    assert list(rows_of("alpaca_eval", "avg_length").values()) == [
        float(x) for x in lengths.groups()
    ]
    assert int(counts[1]) == sum(PAPER.categories.values()) == SIZES.alpaca_eval_prompts
    assert list(PAPER.categories.values()) == [int(n) for _, n in each]


def test_the_categories_have_the_names_that_the_tagging_prompt_lists() -> None:
    import judges.rubrics

    text = (Path(judges.rubrics.__file__).parent / "tagging.md").read_text(encoding="utf-8")

    assert list(PAPER.categories) == re.findall(r"^- (.+)$", text, re.M)


def test_tables_2_and_10_are_there_row_by_row(sheet: str) -> None:
    head, *found = rows(section(sheet, "Tables 2 and 10"))
    order = ["Writ", "Role", "Reas", "Math", "Code", "Extr", "STEM", "Hum", "Overall"]

    assert head[1:] == [*order, "Math/Code/Reas", "rest"]
    assert {our_name(m): tuple(map(number, v)) for m, *v in found} == table("mt_bench")


def test_tables_3_and_9_are_there_row_by_row(sheet: str) -> None:
    head, *found = rows(section(sheet, "Tables 3 and 9"))
    order = ["ARC-e", "ARC-c", "HellaSwag", "SIQA", "PIQA", "GSM8K", "MMLU", "OBQA", "NQ"]

    assert head[1:] == order
    assert {our_name(m): tuple(map(number, v)) for m, *v in found} == table("nlp")


def test_table_4_is_there_column_by_column(sheet: str) -> None:
    head, *found = rows(section(sheet, "Table 4"))
    columns = zip(*[[number(v) for v in row[1:]] for row in found], strict=True)

    assert [row[0] for row in found] == [
        "pairwise accuracy", "5-best %", "exact match %", "Spearman", "Kendall tau",
    ]  # fmt: skip
    assert dict(zip(map(our_name, head[1:]), columns, strict=True)) == table("agreement")


def test_the_counts_of_training_data_are_there(sheet: str) -> None:
    recipe = section(sheet, "Recipe [V]")
    ift = re.search(rf"\| IFT \| {_NUMBER} Open", recipe)
    eft = re.search(rf"{_NUMBER} train / {_NUMBER} eval", recipe)
    pairs = re.search(rf"AIFT\(M1\) {_NUMBER} pairs; AIFT\(M2\) {_NUMBER}", recipe)
    assert ift is not None and eft is not None and pairs is not None

    sizes = rows_of("training_data", "count")
    assert sizes["IFT examples"] == number(ift[1])
    assert sizes["EFT examples (training)"] == number(eft[1])
    assert sizes["EFT examples (evaluation)"] == number(eft[2])
    assert [v for name, v in sizes.items() if "pairs" in name] == [
        number(x) for x in pairs.groups()
    ]


def test_the_recorded_files_models_are_rows_of_the_leaderboard(shared: Path) -> None:
    path = shared / "data" / "alpaca_eval" / "weighted_leaderboard_2024-01-17.csv"
    with path.open(encoding="utf-8", newline="") as file:
        raw = {row[""]: float(row["win_rate"]) for row in csv.DictReader(file)}

    for model in ("claude-2", "humpback-llama2-70b", "text_davinci_001", "alpaca-7b"):
        found = of_recorded("alpaca_eval", model, "win_rate")
        assert found is not None
        assert found.value == round(raw[model], 2)
        assert found.source == "Table 1"


def test_a_number_is_looked_up_with_its_table() -> None:
    assert of_paper("head_to_head", "M2-M1", "win") == Published(55.5, "Figure 3")
    assert of_paper("human", "M3-sft", "lose") == Published(18.0, "Figure 5")
    assert of_paper("alpaca_eval", "M3", "win_rate") == Published(20.44, "Table 1")
    assert of_paper("mt_bench", "M2", "category/stem") == Published(9.40, "Tables 2 and 10")
    assert of_paper("nlp", "M0", "nq_open") == Published(25.3, "Tables 3 and 9")
    assert of_paper("agreement", "M3", "kendall_tau") == Published(0.324, "Table 4")


def test_what_nobody_published_is_none() -> None:
    assert of_paper("head_to_head", "M1-M2", "win") is None  # the other way round is not printed
    assert of_paper("head_to_head", "M2-M1", "net") is None
    assert of_paper("alpaca_eval", "M1", "length_controlled_win_rate") is None
    assert of_paper("mt_bench", "M0", "overall") is None
    assert of_paper("nlp", "M4", "arc_easy") is None
    assert of_paper("contamination", "M1", "flagged") is None
    assert of_recorded("mt_bench", "mistral-orpo", "overall") is None  # two runs under one name
    assert of_recorded("nlp", "claude-2", "arc_easy") is None


def test_a_recorded_file_that_calls_its_model_m1_is_not_the_papers_m1() -> None:
    assert of_recorded("alpaca_eval", "M1", "win_rate") is None
    assert of_recorded("mt_bench", "M1", "overall") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("= [9.94]", "= [9.94, 1.0]"),
            r"tables\.1 \(alpaca_eval, Table 1\): row 'M1' has 2 values",
        ),
        (("= [9.94]", '= ["much"]'), r"tables\.1\.rows\.M1\.0 \(alpaca_eval, Table 1\): "),
        (('source = "Figure 3"\n', ""), r"tables\.0\.source \(head_to_head, \?\): Field required"),
        (("human_prompts = 50", "human_prompts = many"), r"not TOML: .*line 11"),
        (("human_prompts = 50", "prompts = 50"), r"sizes\.human_prompts: Field required"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    import reports.published

    text = (Path(reports.published.__file__).parent / "paper.toml").read_text(encoding="utf-8")
    assert change[0] in text
    file = tmp_path / "paper.toml"
    file.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_published(file)

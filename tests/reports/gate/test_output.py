from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from core.config import load_config
from reports.gate import output as gate_output
from reports.gate.gate import GateOptions, GateResult, run_gate
from reports.gate.output import headline, junit, markdown, table
from tests.conftest import ROOT
from tests.reports.gating import graded, metric, right, scores

EVIL = "M1/nlp/<b>&\"'|`x`]]>\x1b[31m\n::error::%0A,:/acc"


@pytest.fixture(scope="module")
def mixed() -> GateResult:
    """A drop (100 → 0 of 12), an improvement, a pass, a judge that changed, a new metric."""
    before = [
        metric("M1/nlp/a/acc", right(12, 12)),
        metric("M1/nlp/b/acc", right(0, 12)),
        graded([5, 6, 7]),
        metric("M1/nlp/c/acc", conditions={"judge": "gpt-4"}),
        metric("M2/nlp/c/acc", conditions={"judge": "gpt-4"}),
    ]
    after = [
        metric("M1/nlp/a/acc", {**right(0, 11), "new": 0.0}),
        metric("M1/nlp/b/acc", right(12, 12)),
        graded([5, 6, 7]),
        metric("M1/nlp/c/acc", conditions={"judge": "M1"}),
        metric("M2/nlp/c/acc", conditions={"judge": "M1"}),
        metric("M1/nlp/d/acc"),
    ]
    return run_gate(scores(*before, run="main"), scores(*after, run="pull"))


@pytest.fixture(scope="module")
def hostile() -> GateResult:
    """Names and reasons with everything that any format gives a meaning to; one drop, one error."""
    before = [metric(EVIL, right(12, 12)), metric("M1/nlp/y/acc", conditions={EVIL: "was"})]
    after = [metric(EVIL, right(0, 12)), metric("M1/nlp/y/acc", conditions={EVIL: EVIL})]
    return run_gate(scores(*before, run=EVIL), scores(*after, run=EVIL))


def shown(result: GateResult, width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(table(result))
    return out.getvalue()


def test_the_headline_counts_each_outcome(mixed: GateResult) -> None:
    assert headline(mixed) == ("2 metrics cannot be compared; 1 of 3 metrics dropped; 1 improved")
    same = scores(metric())
    assert headline(run_gate(same, same)) == "no drop beyond chance and tolerance in 1 metric"


def test_junit_has_a_case_per_metric_with_failures_and_errors(mixed: GateResult) -> None:
    root = ET.fromstring(junit(mixed))
    assert root.attrib == {"tests": "5", "failures": "1", "errors": "2"}
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert len(cases) == 5
    failure = cases["M1/nlp/a/acc"].find("failure")
    assert failure is not None and failure.text is not None
    # 11 shared items, all lost: p = 1/2048, three tests: 0.0015.
    assert "100.00 → 0.00" in failure.attrib["message"]
    for numbers in ("difference −100.00", "0.000488", "0.001465", "minimum detectable effect"):
        assert numbers in failure.text
    error = cases["M1/nlp/c/acc"].find("error")
    assert error is not None and error.text is not None
    assert "judge was gpt-4, is M1" in error.attrib["message"]
    assert "--exclude M1/nlp/c/acc" in error.text
    passed = cases["M1/mt_bench/overall"]
    assert [child.tag for child in passed] == ["system-out"]
    assert passed.get("classname") == "gate.mt_bench"


def test_junit_survives_hostile_names(hostile: GateResult) -> None:
    root = ET.fromstring(junit(hostile))
    names = [case.get("name") or "" for case in root.iter("testcase")]
    assert any("<b>&\"'|`x`]]>\ufffd[31m" in name for name in names)
    assert len(names) == 2
    # A surrogate half and a null byte are not XML; files of others may hold them.
    broken = scores(metric("M1/nlp/\x00\ud800/acc", right(12, 12)))
    assert ET.fromstring(junit(run_gate(broken, broken))).find(".//testcase") is not None


def test_the_summary_leads_with_the_state_and_what_dropped(mixed: GateResult) -> None:
    lines = markdown(mixed).splitlines()
    assert lines[0] == "## Regression gate: not comparable"
    assert "candidate pull against baseline main" in lines[2]
    rows = [line for line in lines if line.startswith("| M")]
    assert rows[0].startswith("| M1/nlp/a/acc | 100.00 | 0.00 |")
    assert rows[0].endswith("DROPPED |")
    assert "11 (+1 baseline only) (+1 candidate only)" in rows[0]
    assert any(row.endswith("improved |") for row in rows)
    assert any("judge was gpt-4, is M1" in line for line in lines)
    assert any("Only in the candidate, not tested: M1/nlp/d/acc" in line for line in lines)


def test_the_summary_of_a_pass_and_of_a_failure_say_so() -> None:
    good, bad = metric(items=right(12, 12)), metric(items=right(0, 12))
    assert markdown(run_gate(scores(good), scores(good))).startswith("## Regression gate: passed\n")
    assert markdown(run_gate(scores(good), scores(bad))).startswith("## Regression gate: failed\n")


def test_hostile_names_are_words_in_the_summary(hostile: GateResult) -> None:
    text = markdown(hostile)
    assert "<b>" not in text and "&lt;b&gt;&amp;" in text
    assert "\x1b" not in text
    assert "`x`" not in text and r"\`x\`" in text
    rows = [line for line in text.splitlines() if line.startswith("| M")]
    assert len(rows) == 1
    # Eight columns: the name's own bar is escaped.
    assert rows[0].replace(r"\|", "").count("|") == 9


def test_annotations_are_errors_first_and_one_per_reason(mixed: GateResult) -> None:
    lines = gate_output.annotations(mixed)
    assert lines[0] == (
        "::error title=Regression gate%3A not comparable::M1/nlp/c/acc, M2/nlp/c/acc: not "
        "comparable: judge was gpt-4, is M1. If this is intended, exclude with --exclude "
        "M1/nlp/c/acc --exclude M2/nlp/c/acc, or select with --only"
    )
    assert lines[1].startswith("::error title=Regression gate%3A M1/nlp/a/acc dropped::100.00 → 0")
    kinds = [line.split(" ")[0] for line in lines]
    assert kinds == sorted(kinds, key=["::error", "::warning", "::notice"].index)
    assert any("Items in one file only" in line and "M1/nlp/a/acc (n=11" in line for line in lines)
    assert any("noise cannot be estimated" in line for line in lines)  # of mt_bench
    assert lines[-1].startswith("::notice title=Regression gate%3A M1/nlp/b/acc improved::+100.00")


def test_many_metrics_with_one_reason_are_left_out_by_their_benchmark() -> None:
    before = [metric(f"M{at}/nlp/c/acc") for at in range(9)]
    after = [one.model_copy(update={"conditions": {"judge": "M1"}}) for one in before]
    (line,) = gate_output.annotations(run_gate(scores(*before), scores(*after)))
    assert "M4/nlp/c/acc and 4 more: not comparable" in line
    assert "exclude with --exclude nlp, or" in line


def test_hostile_names_stay_inside_their_annotation(hostile: GateResult) -> None:
    for line in gate_output.annotations(hostile):
        assert line.startswith(("::error title=", "::warning title="))
        assert line.isprintable()
        _, _, rest = line.partition(" title=")
        title, _, message = rest.partition("::")
        assert ":" not in title and "," not in title
        assert "%0A::error" in message or "%0A%3A%3Aerror" in title
        # A percent sign of the name's own is not a code.
        assert "%0A,:/acc" not in line
        assert "%250A" in line


def test_a_tolerated_drop_is_a_warning() -> None:
    before, after = scores(metric(items=right(60, 100))), scores(metric(items=right(50, 100)))
    found = run_gate(before, after, GateOptions(tolerances=(("nlp", 10.0),)))
    assert any(
        line.startswith("::warning") and "within the tolerance of 10.00" in line
        for line in gate_output.annotations(found)
    )


def test_nothing_to_compare_does_not_advise_to_exclude() -> None:
    (line,) = gate_output.annotations(run_gate(scores(), scores()))
    assert line.startswith("::error") and "--exclude" not in line
    assert "Give a baseline that has items" in line


def test_the_table_shows_every_metric_with_its_detectable_drop(mixed: GateResult) -> None:
    text = shown(mixed)
    row = next(line for line in text.splitlines() if "M1/nlp/a/acc" in line)
    for cell in ("100.00", "0.00", "−100.00", "0.0015", "DROPPED"):
        assert cell in row
    assert text.count("not comparable") == 2
    assert "80 % power" in text.replace("\n", " ")


def test_numbers_are_aligned_on_the_right_and_words_on_the_left(mixed: GateResult) -> None:
    columns = table(mixed).columns
    assert [column.justify for column in columns] == ["left", *["right"] * 6, "left"]


def test_hostile_names_neither_move_the_cursor_nor_begin_a_line(hostile: GateResult) -> None:
    for width in (60, 120, 300):
        lines = shown(hostile, width).splitlines()
        assert all("\x1b" not in line for line in lines)
        assert not any(line.strip().startswith("::") for line in lines)
    assert "[31m" in shown(hostile, 300).replace("\n", "")  # shown, not acted on


def test_the_workflow_is_valid_and_calls_what_people_call() -> None:
    yaml = pytest.importorskip("yaml")
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "regressions.yml").read_text())
    triggers = flow[True]  # YAML 1.1 reads the key "on" as a truth value
    assert {"push", "pull_request"} <= triggers.keys()
    assert (ROOT / flow["env"]["CONFIG"]).is_file()
    commands = "\n".join(step.get("run", "") for step in flow["jobs"]["gate"]["steps"])
    targets = set(re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE))
    assert targets == {"setup", "train-iter", "eval-all", "report", "check-regressions"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    # Text of a pull request never stands in a script, where it would be run.
    assert "github.event.pull_request" not in commands and "${{ github.head_ref" not in commands


def test_the_workflows_settings_are_settings() -> None:
    yaml = pytest.importorskip("yaml")
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "regressions.yml").read_text())
    setting = flow["env"]["JUDGE"].removeprefix("--set ")
    config = load_config(ROOT / flow["env"]["CONFIG"], [setting])
    assert (config.evaluation.judge.backend, config.evaluation.judge.model) == ("model", "M0")
    assert str(config.folder) == flow["env"]["RUN"]

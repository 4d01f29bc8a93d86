"""What people get wrong: one line naming place and remedy, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import load_config
from core.sources.reader import read_threads
from core.sources.source import Source
from core.stages import Ref, Stage
from core.store import Store
from core.version import code_version
from tests import loop
from training.data.eft import require_written


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check the manner of refusal: exit code 2, one error line with these words, no traceback."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert done.stderr.splitlines()[-1] == errors[0]
    for word in words:
        assert word in errors[0]


def finished(out_dir: Path) -> set[str]:
    """Artifacts that exist; everything else must be scratch that no reader takes for finished."""
    run = out_dir / "smoke"
    names = set(loop.manifests(run)) if run.exists() else set()
    for artifact in run.glob("iter*/*.jsonl"):
        if not artifact.name.endswith((".partial.jsonl", ".metrics.jsonl", ".checkpoints.jsonl")):
            assert f"{artifact.parent.name}/{artifact.stem}" in names
    return names


def rows(path: Path, *lines: object) -> Path:
    path.write_text("".join(x if isinstance(x, str) else json.dumps(x) + "\n" for x in lines))
    return path


GOOD = {"question": "Why?", "answer": "Because.", "rank": 0}


def test_a_missing_configuration_names_those_that_exist(tmp_path: Path) -> None:
    done = loop.run(tmp_path, config=tmp_path / "nowhere.toml")
    refused(done, "nowhere.toml: no such configuration file", "smoke.toml", "quickstart.toml")


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path: Path) -> None:
    refused(
        loop.run(tmp_path, "--set", "dpo.betta=0.2"),
        "unknown key 'dpo.betta'",
        "beta",
        "smoke.toml",
    )


def test_a_value_out_of_range_is_named(tmp_path: Path) -> None:
    refused(loop.run(tmp_path, "--set", "candidates.n=1"), "candidates.n = 1", "greater than")


def test_an_unknown_stage_to_redo_is_answered_with_the_stages(tmp_path: Path) -> None:
    refused(loop.run(tmp_path, "--iter", "2", "--redo", "pears"), "'pears'", "pairs", "judgments")


def test_an_unknown_option_is_one_line(tmp_path: Path) -> None:
    refused(loop.run(tmp_path, "--nonsense"), "--nonsense")


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    done = loop.run(tmp_path, "--set", "ift.source=./nowhere.jsonl")
    refused(done, "nowhere.jsonl: no such file")
    assert finished(tmp_path) == set()


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        # These look like hub names (owner/name) but end like files.
        ("ift.source=missing/ift.jsonl", "missing/ift.jsonl: no such file"),
        ("eft.source.path=missing/eft.jsonl.gz", "missing/eft.jsonl.gz: no such file"),
        ("ift.source=EMPTY", "empty.jsonl: the file is empty"),
        ("model.base=./missing", "model.base = './missing': no such folder"),
        ("model.chat_template=no.jinja", "model.chat_template = no.jinja: no such file"),
        ("dpo.early_stopping.judge=nobody", "dpo.early_stopping.judge = 'nobody': no such folder"),
    ],
)
def test_what_is_missing_is_said_by_a_dry_run_as_by_the_run(
    tmp_path: Path, setting: str, words: str, dry: list[str]
) -> None:
    empty = rows(tmp_path / "empty.jsonl")
    done = loop.run(tmp_path, "--set", setting.replace("EMPTY", str(empty)), *dry)
    refused(done, words)
    assert finished(tmp_path) == set()


def test_written_examples_without_scores_are_refused_before_anything_is_trained(
    shared: Path, tmp_path: Path
) -> None:
    source = shared / "cases" / "ranked_without_scores.jsonl"
    settings = [f"ift.source={source}", "ift.max_examples=4", f"eft.source.path={source}",
                "eft.selection.source=written"]  # fmt: skip
    done = loop.run(tmp_path, "--iter", "1", *(w for s in settings for w in ("--set", s)))
    refused(done, 'eft.selection.source is "written"', '"score"', "m1.use_eft = false")
    assert finished(tmp_path) == {"iter1/ift", "iter1/ranked"}


def test_open_assistants_published_gzip_is_read(shared: Path, tmp_path: Path) -> None:
    source = shared / "cases" / "sample.trees.jsonl.gz"
    config = loop.evaluation_in(tmp_path, f"ift.source={source}")
    assert len(read_threads(Source(config.ift.source, "ift"), language="en")) > 100


def test_nested_toml_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "deep.toml"
    config.write_text(f"run = {'[' * 5000}")
    refused(loop.run(tmp_path, config=config), "deep.toml: not valid TOML: nested too deeply")
    refused(loop.run(tmp_path, "--set", f"run={'[' * 5000}"), "run = ")


def test_an_iteration_that_the_command_does_not_make_cannot_be_redone(tmp_path: Path) -> None:
    for dry in ([], ["--dry-run"]):
        done = loop.run(tmp_path, "--iter", "2", "--redo", "iter9/pairs", *dry)
        refused(done, "'iter9/pairs'", "M2", "--iter 9")


def test_a_line_about_a_long_value_is_no_page(tmp_path: Path) -> None:
    done = loop.run(tmp_path, "--set", f"model.nonsense={'x' * 6000}", "--redo", "y" * 6000)
    refused(done, "nonsense")
    done = loop.run(tmp_path, "--iter", "2", "--redo", "y" * 6000)
    refused(done, "--redo 'yyy", "pairs")
    assert len(done.stderr) < 1100


@pytest.mark.parametrize("package", ["training", "evaluation", "reports"])
def test_every_command_says_its_version(package: str) -> None:
    done = loop.main(package, "--version")
    assert done.returncode == 0
    assert done.stdout == f"srlm {code_version()}\n"


def test_bad_json_is_named_by_line(tmp_path: Path) -> None:
    source = rows(tmp_path / "seed.jsonl", GOOD, GOOD, '{"question": "Why?", \n')
    refused(loop.run(tmp_path, "--set", f"ift.source={source}"), f"{source}:3: not valid JSON")
    assert finished(tmp_path) == set()


def test_a_score_out_of_range_is_named_with_the_rubric(tmp_path: Path) -> None:
    replies = [
        {"text": "a", "rank": 0, "score": 5, "justification": "x"},
        {"text": "b", "rank": 1, "score": 6, "justification": "x"},
    ]
    tree = {"message_tree_id": "t", "prompt": {"text": "Why?", "replies": replies}}
    source = rows(tmp_path / "eft.jsonl", {**tree, "split": "train"})
    settings = ("--set", f"eft.source.path={source}")
    done = loop.run(tmp_path, *settings)
    refused(done, f"{source}: reply t/r1: score 6 is not in 0..5, the range of judge.rubric")
    assert finished(tmp_path) == {"iter1/ift", "iter1/ranked"}
    # A rubric of one's own has another range.
    ten = tmp_path / "ten.md"
    ten.write_text(
        "<!--\nScores: 1 to 10\n-->\nSay Score: 1 to 10.\n<INSTRUCTION_HERE>\n<RESPONSE_HERE>\n"
    )
    planned = loop.run(tmp_path, *settings, "--set", f"judge.rubric={ten}", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    config = load_config(loop.SMOKE, [f"out_dir={tmp_path}", f"judge.rubric={ten}"])
    require_written(Store(tmp_path / "smoke").read(Ref(1, Stage.RANKED)), config)


def test_a_score_that_is_no_number_is_named_by_line(tmp_path: Path) -> None:
    replies = [{"text": "a", "rank": 0, "score": "six", "justification": "x"}]
    source = rows(tmp_path / "eft.jsonl", {"prompt": {"text": "Why?", "replies": replies}})
    done = loop.run(tmp_path, "--set", f"eft.source.path={source}")
    refused(done, f"{source}:1: score 'six' is not a number")


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    return folder


def test_a_corrupt_weights_file_is_named(model: Path, tmp_path: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    done = loop.run(tmp_path, "--set", f"model.base={model}")
    refused(done, "model.safetensors: not a readable safetensors file", "again")
    assert "iter0/base" not in finished(tmp_path)


def test_a_model_without_chat_template_is_refused_before_anything_is_trained(
    model: Path, tmp_path: Path
) -> None:
    (model / "chat_template.jinja").unlink()
    done = loop.run(tmp_path, "--set", f"model.base={model}")
    refused(done, "no chat template", "model.chat_template")
    assert "iter0/base" not in finished(tmp_path)


def test_a_template_that_never_comes_to_an_end_is_refused_before_anything_is_trained(
    model: Path, tmp_path: Path
) -> None:
    (model / "chat_template.jinja").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    done = loop.run(tmp_path / "runs", "--set", f"model.base={model}")
    refused(done, "its chat template does not render", "come to an end", "model.chat_template")


def test_a_window_shorter_than_the_rows_is_refused_before_anything_is_trained(
    model: Path, tmp_path: Path
) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 256}))
    settings = ("--set", f"model.base={model}", "--set", "sft.max_length=257")
    done = loop.run(tmp_path / "runs", *settings)
    refused(done, "sft.max_length is too large for M0's context window of 256 tokens")
    assert "iter1/sft" not in finished(tmp_path / "runs")


def test_a_model_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    done = loop.run(tmp_path, "--set", "model.base=./nowhere")
    refused(done, "model.base = './nowhere'", "embedded")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 320 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_what_was_finished_stays(small_disk: Path) -> None:
    done = loop.run(small_disk)
    refused(done, str(small_disk), "No space left on device", "free space")
    assert {"iter1/ift"} <= finished(small_disk) < {"iter1/ift", "iter1/ranked", "iter1/sft"}


def test_a_second_process_on_the_same_run_is_told_so(tmp_path: Path) -> None:
    from core.making import locked

    with locked(tmp_path / "smoke" / ".lock"):
        refused(loop.run(tmp_path), "another process", "smoke")

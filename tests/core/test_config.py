import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.config import Config, PairsSection, load_config
from core.errors import ConfigError
from core.making import artifact_key
from core.sections import Section
from core.stages import SPECS, project_root
from core.store import Key, Store

SWEEPS = project_root() / "configs" / "sweeps"
SHIPPED = sorted(p for p in SWEEPS.parent.rglob("*.toml") if p.parent != SWEEPS)

WriteToml = Callable[[str], Path]


@pytest.fixture
def toml(tmp_path: Path) -> WriteToml:
    def write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def message_of(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, list(overrides))
    return str(caught.value)


def with_set(path: Path, *overrides: str) -> Config:
    return load_config(path, list(overrides))


# ----- shipped files and defaults


def test_the_configurations_the_readme_names_are_shipped() -> None:
    assert {"quickstart.toml", "smoke.toml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("sft.epochs=inf", "sft.epochs = Infinity: Input should be a finite number"),
        ("dpo.lr=nan", "dpo.lr = NaN: Input should be a finite number"),
        ("dpo.beta=1e400", "dpo.beta = Infinity"),
        ("sft.epochs=1e9", "less than or equal to 10000"),
        ("seed=4294967296", "seed = 4294967296: Input should be less than 4294967296"),
        ("seed=1e26", "seed = 1e+26: "),
        ("candidates.n=1000000000", "less than or equal to 1000"),
        ("judge.draws=1e9", "less than or equal to 1000"),
        ("evaluation.mt_bench.draws=1e9", "less than or equal to 1000"),
        ("judge.max_new_tokens=1e9", "less than or equal to 1000000"),
        ("prompts.count=1e10", "less than or equal to 1000000000"),
        ("plan.gpu_hour_usd=inf", "finite number"),
        ("evaluation.judge.requests_per_minute=nan", "finite number"),
    ],
)
def test_numbers_that_no_run_could_finish_are_refused_when_they_are_read(
    toml: WriteToml, setting: str, words: str
) -> None:
    assert words in message_of(toml(""), setting)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_configuration_loads_under_a_run_name_of_its_own(path: Path) -> None:
    # A shared name would mix the artifacts of two configurations in one folder.
    names = [load_config(other).run for other in SHIPPED]
    assert names.count(load_config(path).run) == 1


def test_an_empty_file_is_the_default_configuration(toml: WriteToml) -> None:
    assert load_config(toml("")) == Config()


# Yuan et al., arXiv 2401.10020 v3: sections 2.4 and 3.1; the filters are Self-Instruct's.
PAPER = {
    "iterations": 3,  # M1, M2, M3
    "ift.max_examples": 3200,
    "ift.language": "en",
    "eft.selection.source": "constructed",
    "eft.selection.max_examples": 1630,
    "eft.selection.balance_scores": True,  # "part of the most common score (4) discarded"
    "m1.use_eft": True,
    "sft.lr": 5.5e-6,
    "sft.lr_min": 1.1e-6,
    "sft.batch_size": 16,
    "sft.dropout": 0.1,
    "prompts.generator": "base",  # a fixed model, not the one in training
    "prompts.seed_examples": 6,  # 8-shot: 6 from IFT ...
    "prompts.generated_examples": 2,  # ... and 2 generated
    "prompts.temperature": 0.6,
    "prompts.top_p": 0.9,
    "prompts.rouge_threshold": 0.7,
    "prompts.min_words": 4,  # "drop <= 3 words"
    "prompts.max_words": 150,  # "or > 150 words"
    "candidates.n": 4,
    "candidates.temperature": 0.7,
    "candidates.top_p": 0.9,
    "judge.rubric": "additive",
    "improvement.judge": "self",
    "judge.draws": 3,
    "judge.temperature": 0.7,  # "same decoding" as the candidates
    "judge.top_p": 0.9,
    "pairs.choice": "best_worst",
    "pairs.rho": 0.0,
    "pairs.min_margin": 0.0,  # "dropped if equal": only a difference of 0 is a tie
    "improvement.method": "dpo",
    "dpo.lr": 1e-6,
    "dpo.lr_min": 1e-7,
    "dpo.batch_size": 16,
    "dpo.dropout": 0.1,
    "dpo.beta": 0.1,
    "dpo.reference": "previous",
    "dpo.early_stopping.enabled": True,
    "dpo.early_stopping.every_steps": 200,
    "dpo.early_stopping.max_prompts": 253,
    "dpo.early_stopping.prompt": "alpaca_eval",
}


@pytest.mark.parametrize(("name", "value"), PAPER.items())
def test_a_default_is_the_papers_value(name: str, value: object) -> None:
    assert Config().section(name) == value


def test_the_default_share_of_evaluation_prompts_is_the_papers_to_within_a_percent() -> None:
    # 541 of 1,630 + 541 = 2,171 examples: 24.92 %.
    assert Config().eft.source.eval_share == pytest.approx(541 / 2171, rel=0.01)


# ----- what is wrong is named


def test_an_unknown_key_is_named_with_the_known_ones_beside_it(toml: WriteToml) -> None:
    path = toml("[pairs]\nmargin = 1\n")
    assert message_of(path) == (
        f"{path}: unknown key 'pairs.margin'; known there: choice, chosen_from, "
        "consistency, control, filter, min_margin, rejected_from, rho"
    )


def test_an_unknown_key_deep_down_is_named_by_its_whole_path(toml: WriteToml) -> None:
    message = message_of(toml("[eft.construction]\ndraw = 2\n"))
    assert "unknown key 'eft.construction.draw'" in message
    assert message.endswith("known there: draws, enabled, max_prompts")


def test_an_unknown_section_is_named_with_the_known_sections_and_a_second_error_is_counted(
    toml: WriteToml,
) -> None:
    message = message_of(toml("sede = 1\n[dpoo]\nbeta = 0.1\n"))
    assert "unknown key 'sede'" in message
    assert "candidates, dpo, eft, engine" in message
    assert message.endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("dpo.beta=0", "dpo.beta = 0: Input should be greater than 0"),
        ("candidates.n=1", "candidates.n = 1: Input should be greater than or equal to 2"),
        (
            "model.chat_template_kwargs.messages=1",
            "model.chat_template_kwargs: Value error, 'messages' is no variable of a chat template",
        ),
        ("prompts.top_p=1.1", "prompts.top_p = 1.1: Input should be less than or equal to 1"),
        ("sft.dropout=1.0", "sft.dropout = 1.0: Input should be less than 1"),
        (
            "judge.rubric=seven",
            "judge.rubric = \"seven\": Value error, expected 'additive', 'li', 'verifiable' or the "
            "path of a Markdown file (.md)",
        ),
        ("seed=-1", "seed = -1: Input should be greater than or equal to 0"),
        ("run=../elsewhere", 'run = "../elsewhere": String should match pattern'),
        ("sft.lr=fast", 'sft.lr = "fast": Input should be a valid number'),
        ("dpo=0.1", "dpo = 0.1: Input should be a valid dictionary"),
        ("sft.lr=nan", "sft.lr = NaN: Input should be a finite number"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_was_found(
    toml: WriteToml, override: str, where: str
) -> None:
    path = toml("")
    assert message_of(path, override).startswith(f"{path}: {where}")


@pytest.mark.parametrize("name", [".", "..", "a/b", "", ".hidden", "-rf", "a b"], ids=repr)
def test_a_run_name_is_a_single_plain_folder_name(toml: WriteToml, name: str) -> None:
    assert "run = " in message_of(toml(f'run = "{name}"'))


def test_a_missing_file_is_named_with_the_shipped_ones(tmp_path: Path) -> None:
    message = message_of(tmp_path / "quikstart.toml")
    assert message.startswith(f"{tmp_path / 'quikstart.toml'}: no such configuration file")
    assert "quickstart.toml" in message
    assert "smoke.toml" in message


def test_a_file_that_is_not_toml_is_named_with_the_line(toml: WriteToml) -> None:
    path = toml("seed = 1\nrun = [\n")
    assert message_of(path).startswith(f"{path}: not valid TOML: ")
    assert "line 2" in message_of(toml("seed = 1\nrun = \n"))


def test_a_file_that_is_not_utf8_is_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b'run = "\xe9"\n')
    assert message_of(path).startswith(f"{path}: not valid TOML: ")


# ----- objectives


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('loss = "simpo"', "loss 'simpo' needs a beta of its own scale (published: 2.5)"),
        ('loss = "sigmoid_norm"', "(published: 5.0)"),
        ('loss = "sppo_hard"', "(published: 0.001)"),
        ('loss = "ipo"\nlabel_smoothing = 0.1', "label_smoothing needs loss 'sigmoid', "),
        ('loss = "robust"', "needs label_smoothing (published: 0.1); at 0 it is 'sigmoid'"),
        ("label_smoothing = 0.5", "less than 0.5"),
        ('loss = "ipo"\nld_alpha = 0.5', "averages over tokens: leave it at 1"),
        ('loss = "simpo"\nbeta = 2.5\nreference = "base"', "leave reference at 'previous'"),
        ("simpo_gamma = 1.0", "simpo_gamma needs loss 'simpo'"),
        ('loss = "kto"', "Input should be 'sigmoid', "),
    ],
)
def test_an_objective_whose_settings_do_not_fit_each_other_is_refused_with_what_to_set(
    toml: WriteToml, settings: str, words: str
) -> None:
    message = message_of(toml(f"[dpo]\n{settings}\n"))
    assert ": dpo" in message
    assert words in message


def test_a_beta_on_the_command_line_is_one_that_was_set(toml: WriteToml) -> None:
    found = with_set(toml(""), "dpo.loss=simpo", "dpo.beta=2.5", "dpo.simpo_gamma=1.375")
    assert (found.dpo.loss, found.dpo.beta) == ("simpo", 2.5)


def test_objectives_at_their_defaults_are_in_no_key(toml: WriteToml) -> None:
    new = {"loss", "nll_weight", "ld_alpha", "label_smoothing", "weighting", "simpo_gamma"}
    assert not new & Config().plain("dpo")["dpo"].keys()
    changed = with_set(toml(""), "dpo.nll_weight=1").plain("dpo")["dpo"]
    assert new & changed.keys() == {"nll_weight"}


def test_the_evidence_of_pairs_is_in_no_key_where_there_is_none() -> None:
    assert Config().plain("pairs")["pairs"].keys() == {"choice", "rho", "min_margin"}
    # Measuring consistency changes nothing.
    read = {section.partition(".")[0] for spec in SPECS.values() for section in spec.sections}
    assert "health" not in read


# ----- a file that extends another


def test_a_file_takes_what_it_does_not_set_from_the_one_it_extends(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(
        'run = "base"\n[engine]\nkind = "openai"\nbase_urls = ["http://a/v1", "http://b/v1"]\n'
        "[dpo]\nbeta = 0.3\nlr = 1e-5\n[dpo.early_stopping]\npatience = 4\n"
        "[iteration.3.pairs]\nmin_margin = 0.5\n"
    )
    (tmp_path / "sub").mkdir()
    middle = tmp_path / "sub" / "middle.toml"
    middle.write_text('extends = "../base.toml"\nrun = "middle"\n[dpo]\nbeta = 0.5\n')
    top = tmp_path / "top.toml"
    top.write_text(
        'extends = "sub/middle.toml"\nseed = 4\n[engine]\nbase_urls = ["http://c/v1"]\n'
        "[iteration.3.prompts]\ncount = 7\n"
    )
    found = load_config(top, ["dpo.lr=1e-6"])
    assert (found.run, found.seed) == ("middle", 4)
    # The nearest file counts, the command line before all; a list is replaced as a whole.
    assert (found.dpo.beta, found.dpo.lr, found.dpo.early_stopping.patience) == (0.5, 1e-6, 4)
    assert found.engine.base_urls == ("http://c/v1",)
    assert (found.at(3).pairs.min_margin, found.at(3).prompts.count) == (0.5, 7)


def test_a_file_that_extends_nothing_readable_is_named(toml: WriteToml, tmp_path: Path) -> None:
    path = toml('extends = "absent.toml"\n')
    expected = f"{path}: extends = 'absent.toml': no such file: {tmp_path / 'absent.toml'}"
    assert message_of(path) == expected
    assert "expected the path of another" in message_of(toml("extends = 3\n"))
    (tmp_path / "broken.toml").write_text("seed = \n")
    assert message_of(toml('extends = "broken.toml"\n')).startswith(f"{tmp_path / 'broken.toml'}: ")


def test_files_that_extend_each_other_are_refused(toml: WriteToml, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('extends = "mine.toml"\n')
    path = toml('extends = "other.toml"\n')
    assert "the files extend each other" in message_of(path)
    assert "the files extend each other" in message_of(toml('extends = "./mine.toml"\n'))


# ----- --set


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("dpo.beta=0.2", "dpo.beta", 0.2),
        ("dpo.lr=2e-5", "dpo.lr", 2e-5),
        ("candidates.n=8", "candidates.n", 8),
        ("m1.use_eft=false", "m1.use_eft", False),
        ("model.base=tiny", "model.base", "tiny"),  # a bare word
        ('model.base="tiny"', "model.base", "tiny"),  # TOML syntax
        ("model.base=/data/llama 2/70b", "model.base", "/data/llama 2/70b"),
        ("model.base=org/name=v2", "model.base", "org/name=v2"),  # only the first = divides
        (" pairs.min_margin = 0.5 ", "pairs.min_margin", 0.5),
        ("dpo.early_stopping.every_steps=5", "dpo.early_stopping.every_steps", 5),
        ("eft.selection.source=written", "eft.selection.source", "written"),
        ("ift.source=", "ift.source", ""),
    ],
)
def test_a_setting_on_the_command_line_is_toml_or_a_bare_word(
    toml: WriteToml, override: str, name: str, value: object
) -> None:
    found = with_set(toml(""), override).section(name)
    assert found == value
    assert type(found) is type(value)


def test_a_setting_replaces_one_value_and_leaves_its_neighbours(toml: WriteToml) -> None:
    path = toml("seed = 7\n[dpo]\nbeta = 0.3\nlr = 1e-5\n")
    assert with_set(path, "dpo.beta=0.2") == Config.model_validate(
        {"seed": 7, "dpo": {"beta": 0.2, "lr": 1e-5}}
    )


def test_the_last_of_two_settings_of_one_name_counts(toml: WriteToml) -> None:
    assert with_set(toml("seed = 1"), "seed=2", "seed=3").seed == 3


@pytest.mark.parametrize("override", ["dpo.beta", "=0.2", "", " = 1"])
def test_a_setting_without_name_or_value_is_refused_with_an_example(
    toml: WriteToml, override: str
) -> None:
    assert message_of(toml(""), override) == (
        f"--set {override!r}: expected name=value, e.g. --set dpo.beta=0.2"
    )


def test_a_setting_below_a_plain_value_is_refused(toml: WriteToml) -> None:
    assert message_of(toml("[dpo]\nbeta = 0.1\n"), "dpo.beta.x=1") == (
        "--set 'dpo.beta.x=1': 'beta' is a value, not a section"
    )


def test_a_misspelt_setting_is_an_unknown_key(toml: WriteToml) -> None:
    assert "unknown key 'dpo.betta'" in message_of(toml(""), "dpo.betta=0.2")


# ----- rules between values


def test_a_batch_must_be_a_whole_number_of_micro_batches(toml: WriteToml) -> None:
    # 16 = 3 * 5 + 1; and 16 sequences are no multiple of 32.
    for section in ("sft", "dpo"):
        for micro in (3, 32):
            assert f"batch_size 16 is not a multiple of micro_batch_size {micro}" in message_of(
                toml(""), f"{section}.micro_batch_size={micro}"
            )
    assert with_set(toml(""), "sft.micro_batch_size=16").sft.micro_batch_size == 16


def test_rho_needs_the_choice_that_reads_it_and_stays_below_half(toml: WriteToml) -> None:
    path = toml("")
    assert "rho is set but choice is not 'length_controlled'" in message_of(path, "pairs.rho=0.2")
    chosen = "pairs.choice=length_controlled"
    assert with_set(path, chosen, "pairs.rho=0.2").pairs.rho == 0.2
    # From one half on, the best band and the worst band meet.
    assert "Input should be less than 0.5" in message_of(path, chosen, "pairs.rho=0.5")


def test_a_configuration_cannot_be_changed_after_loading() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.dpo.beta = 0.2  # type: ignore[misc]
    assert (config.seed, config.dpo.beta) == (0, 0.1)


# ----- what artifacts depend on


def test_the_named_sections_come_out_as_plain_values_and_no_others() -> None:
    assert Config().plain("pairs", "engine.dtype") == {
        "pairs": {"choice": "best_worst", "rho": 0.0, "min_margin": 0.0},
        "engine.dtype": "bfloat16",
    }


def test_a_setting_that_came_later_enters_a_key_only_once_it_is_set() -> None:
    class Inner(Section):
        added = frozenset({"new"})
        old: int = 1
        new: int = 2

    class Outer(Section):
        inner: Inner = Inner()

    assert Outer().for_key() == {"inner": {"old": 1}}
    assert Outer(inner=Inner(new=3)).for_key() == {"inner": {"old": 1, "new": 3}}


def test_the_date_in_prompts_is_part_of_every_key_once_it_is_another(tmp_path: Path) -> None:
    def key(**model: object) -> Key:
        config = Config.model_validate({"model": model})
        return artifact_key(Store(tmp_path), config, [], ("pairs",), {})

    assert key() == key(date="2024-07-26")
    assert key(date="2026-11-28").config["model.date"] == "2026-11-28"
    assert Config().model_dump(mode="json")["model"]["date"] == "2024-07-26"  # in config.json


def test_every_section_a_stage_reads_exists() -> None:
    for spec in SPECS.values():
        for name in spec.sections:
            Config().section(name)


@pytest.mark.parametrize(
    "override",
    [
        "engine.device=cpu",
        "engine.max_batch_rows=1",
        "health.action=warn",
        "out_dir=/elsewhere",
        "run=other",
        "iterations=1",
    ],
)
def test_where_and_how_far_a_run_goes_is_no_part_of_any_artifacts_key(
    toml: WriteToml, override: str
) -> None:
    changed = with_set(toml(""), override)
    assert changed != Config()
    for spec in SPECS.values():
        assert changed.plain(*spec.sections) == Config().plain(*spec.sections)


CANDIDATES_JUDGED = {"judgments", "past_judgments", "future_judgments"}


@pytest.mark.parametrize(
    ("override", "readers"),
    [
        (
            "judge.rubric=li",
            {
                "eft_judgments",
                "eft_constructed",
                "eft",
                "probe",
                "meta_verdicts",
                "judge_pairs",
                "previous_judgments",
                *CANDIDATES_JUDGED,
            },
        ),
        (
            "judge.temperature=0",
            {"eft_judgments", "probe", "meta_verdicts", "previous_judgments", *CANDIDATES_JUDGED},
        ),
        ("judge_pairs.prompt=mine.md", {"meta_verdicts"}),
        ("judge_pairs.max_characters=1100", {"judge_pairs"}),
        ("judge.draws=5", {"previous_judgments", *CANDIDATES_JUDGED}),  # the others have their own
        ("improvement.judge=sft", CANDIDATES_JUDGED),
        ("probe.draws=2", {"probe"}),
        ("eft.construction.draws=2", {"eft_judgments"}),
        ("eft.selection.agreement=no_inversion", {"eft_constructed", "eft"}),
        ("eft.source.min_replies=3", {"ranked"}),
        ("candidates.n=8", {"candidates", "past_answers", "future_answers"}),
        ("pairs.min_margin=1", {"pairs", "future_pairs"}),
        ("prompts.count=9", {"prompt_calls", "prompts"}),
        ("sft.lr=1e-4", {"sft"}),  # M1 reads it too, by the loop's own word
    ],
)
def test_a_change_concerns_exactly_the_stages_that_read_it(
    toml: WriteToml, override: str, readers: set[str]
) -> None:
    changed = with_set(toml(""), override)
    differ = {
        stage.value
        for stage, spec in SPECS.items()
        if changed.plain(*spec.sections) != Config().plain(*spec.sections)
    }
    assert differ == readers


OWN = """
[pairs]
min_margin = 0.5
[dpo]
beta = 0.3
[iteration.3.prompts]
count = 6942
[iteration.3.dpo.early_stopping]
patience = 4
[iteration.2.pairs]
choice = "length_controlled"
rho = 0.32
"""


def test_an_iteration_has_the_runs_settings_but_for_its_own(toml: WriteToml) -> None:
    config = with_set(toml(OWN), "iteration.3.dpo.lr=1e-5", "prompts.count=3964")
    assert [config.at(k).prompts.count for k in (1, 2, 3, 4)] == [3964, 3964, 6942, 3964]
    third, plain = config.at(3).dpo, config.dpo
    assert (third.lr, third.beta, third.early_stopping.patience) == (1e-5, 0.3, 4)
    assert (plain.lr, plain.early_stopping.patience) == (1e-6, 1)
    assert config.at(2).pairs == PairsSection(choice="length_controlled", rho=0.32, min_margin=0.5)
    assert [name for name, _ in config.own_settings()] == ["", "iteration.2.", "iteration.3."]
    assert [name for name, _ in config.own_settings(2)] == ["", "iteration.2."]


def test_a_key_has_the_same_form_whether_a_value_is_the_runs_or_the_iterations(
    toml: WriteToml,
) -> None:
    whole = with_set(toml(""), "dpo.lr=1e-5", "dpo.early_stopping.patience=4", "prompts.count=7")
    own = with_set(
        toml(""),
        "iteration.3.dpo.lr=1e-5",
        "iteration.3.dpo.early_stopping.patience=4",
        "iteration.3.prompts.count=7",
    )
    assert own.at(3).plain("dpo", "prompts") == whole.plain("dpo", "prompts")
    assert own.at(2).plain("dpo", "prompts") == Config().plain("dpo", "prompts")


def test_the_settings_of_iterations_survive_config_json(toml: WriteToml) -> None:
    config = with_set(toml(OWN))
    again = Config.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert again.at(3).prompts.count == 6942


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("iteration.3.prompts.count=0", "iteration.3.prompts.count = 0: Input should be"),
        ("iteration.3.prompts.cuont=3", "unknown key 'iteration.3.prompts.cuont'; known there: c"),
        (
            "iteration.2.dpo.early_stopping.x=1",
            "unknown key 'iteration.2.dpo.early_stopping.x'; known there: enabled, every_steps",
        ),
        (
            "iteration.3.sft.lr=1",
            "unknown key 'iteration.3.sft'; known there: candidates, dpo, health, improvement, "
            "judge, judge_pairs, lora, pairs, prompts",
        ),
        ("iteration.1.prompts.count=3", 'iteration.1 = "1": Input should be greater than or equal'),
        ("iteration.x.prompts.count=3", 'iteration.x = "x": Input should be a valid integer'),
        ("iteration.2.pairs.rho=0.2", "iteration.2.pairs: Value error, rho is set but choice is"),
        ("iteration.2.dpo.batch_size=3", None),
        ("iteration.2.dpo.micro_batch_size=3", "iteration.2.dpo: Value error, batch_size 16 is"),
        ("iteration.2.dpo=3", "iteration.2.dpo = 3: Input should be a valid dictionary"),
        ("iteration.2.dpo.precision=auto", "iteration.2.dpo.precision: 'auto' is decided once"),
    ],
)
def test_an_iterations_setting_is_checked_where_it_stands(
    toml: WriteToml, setting: str, message: str | None
) -> None:
    if message is None:
        assert with_set(toml(""), setting).at(2).dpo.batch_size == 3
        return
    with pytest.raises(ConfigError) as caught:
        with_set(toml(""), setting)
    assert message in str(caught.value)


def test_a_run_lies_in_its_folder_under_out_dir(toml: WriteToml) -> None:
    assert with_set(toml(""), "out_dir=/data/runs", "run=mine").folder == Path("/data/runs/mine")

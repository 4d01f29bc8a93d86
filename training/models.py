"""Stages that make models: M0, the SFT baseline, M1, and M_k from AI feedback."""

from __future__ import annotations

import shutil
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ConfigError, NothingToTrain
from core.hashing import model_files, sha256_file, sha256_folder, sha256_json, sha256_text
from core.progress import say
from core.records import Example
from core.reductions import mean_scores
from core.stages import HOW_JUDGED, SFT_BASELINE, Ref, Stage, model_ref
from core.store import Built
from engines.embedded import hub_folder, is_hub_name, link
from judges.backends.openai_judge import identity_of
from judges.backends.opening import JUDGED_BY, open_judge
from judges.backends.recorded import Recorded
from judges.candidate_judges import RIGHT_OR_WRONG
from judges.replies import PARSING
from judges.rubrics import load_rubric
from judges.rubrics.pair_rubrics import pair_rubric_source
from training.data.seed import validation_prompts, validation_source
from training.disk import check_room
from training.launch import launch
from training.launch.command import NONE, launch_of
from training.run import EXTERNAL, MODEL_NAMES, VERIFIER, is_run_model
from training.trainers import sft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from core.config import Config
    from core.store import Store
    from engines.engine import Engine
    from judges.asking import Judge
    from training.run import Run
    from training.trainers.early_stopping import CheckpointJudge, ExternalJudge
    from training.trainers.encoding import Row
    from training.trainers.job import TrainingJob

    _Rows = Callable[[], list[Row]]
    _Open = Callable[[Ref], Engine]


def make_base(run: Run, ift: Ref) -> None:
    """Put M0 into the run as safetensors."""
    section = run.config.model
    # Only the tiny test model is made from data: its tokenizer is trained on it.
    inputs = [ift] if section.base == "tiny" else []

    def texts() -> list[str]:
        rubric = load_rubric(run.config.judge.rubric).template
        return [rubric, *(f"{e.prompt}\n{e.response}" for e in run.read(ift))] if inputs else []

    config, sources = _given(run, model_ref(0), section.base)
    run.model(
        model_ref(0),
        inputs,
        lambda: _materialised(run, model_ref(0), "model.base", section.base, texts()),
        sections=("judge.rubric",) if inputs else (),
        sources=sources,
        config=config,
    )
    _check_window(run.config, "M0", run.store.manifest(model_ref(0)).facts.get("window"))


def take_m1(run: Run, name: str) -> None:
    """Put a given M1 (`m1.model`) into the run as safetensors, instead of training one."""
    config, sources = _given(run, model_ref(1), name)
    run.model(
        model_ref(1),
        [],
        lambda: _materialised(run, model_ref(1), "m1.model", name, []),
        sections=("m1.model",),
        sources=sources,
        config=config,
    )
    _check_window(run.config, "M1", run.store.manifest(model_ref(1)).facts.get("window"))


def _materialised(run: Run, ref: Ref, setting: str, name: str, texts: list[str]) -> Built:
    """Put a given model into its work folder and check that it can be sampled from and trained."""
    from engines.embedded import materialise
    from engines.models import check_usable

    section, target = run.config.model.model_copy(update={"base": name}), run.model_folder(ref)
    if ref != model_ref(0):
        section = section.model_copy(update={"revision": None})  # the base model's
    shutil.rmtree(target, ignore_errors=True)  # left by a killed run
    origin = materialise(section, target, seed=run.config.seed, texts=texts, setting=setting)
    usable = check_usable(target, section)
    if usable.difference:
        say(f"  warning: {usable.difference}")
    return Built(facts={"origin": origin, "window": usable.window})


def _given(run: Run, ref: Ref, name: str) -> tuple[Config, dict[str, str]]:
    """Return the configuration and the sources of the key of a model that settings name.

    Its bytes count, not its path: a folder that moved goes by its old name, and if it is not there
    any more, the model is what the run has.
    """
    config, section = run.config, run.config.model
    sources = local_model(run, name)
    if section.chat_template:
        template = Path(section.chat_template)
        sources[f"template:{template.name}"] = sha256_file(template)
    if not run.store.exists(ref):
        return config, sources
    made = run.store.manifest(ref).key
    before = {known: value for known, value in made.inputs.items() if Ref.parse(known) is None}
    called = made.config["model"]["base"] if ref == model_ref(0) else made.config.get("m1.model")
    if called == name and not Path(name).expanduser().is_dir():
        sources |= {known: value for known, value in before.items() if known.startswith("folder:")}
    if called and before and sorted(before.values()) == sorted(sources.values()):
        sources = before
        relink(run.store, ref, name)
        config = _as_called(config, ref, made.config)
    return config, sources


def _as_called(config: Config, ref: Ref, made: dict[str, Any]) -> Config:
    """Return the settings with the paths of a given model as they were when it was put in."""
    if ref == model_ref(0):
        paths = {name: made["model"][name] for name in ("base", "chat_template")}
        return config.model_copy(update={"model": config.model.model_copy(update=paths)})
    called = config.m1.model_copy(update={"model": made["m1.model"]})
    return config.model_copy(update={"m1": called})


def relink(store: Store, ref: Ref, base: str) -> None:
    """Make links of a given model that lead nowhere lead to the same bytes in the folder `base`."""
    folder, files = store.model(ref), store.manifest(ref).files
    for name, stamp in files.items():
        target = store.paths.folder(ref) / name
        source = Path(base).expanduser() / target.name
        lost = target.parent == folder and target.is_symlink() and not target.exists()
        if lost and source.is_file() and sha256_file(source) == stamp.sha256:
            target.unlink()
            link(source.resolve(), target)


def _check_window(config: Config, model: str, window: int | None) -> None:
    """Check that what is trained and sampled fits a context window, where its maker noted it."""
    if window is None:
        return
    needed = {} if config.m1.model else {"sft.max_length": config.sft.max_length}
    for iteration, own in config.own_settings():
        needed[f"{iteration}dpo.max_length"] = own.dpo.max_length
        needed |= {
            f"{iteration}{name}.max_new_tokens": own.section(name).max_new_tokens + 1  # a prompt
            for name in ("prompts", "candidates", "judge")
        }
    for name, tokens in needed.items():
        if tokens > window:
            raise ConfigError(
                f"{name} is too large for {model}'s context window of {window} tokens; set it to a "
                "smaller number, or use a base model with a longer window"
            )


def local_model(run: Run, base: str) -> dict[str, str]:
    """Return a model folder's name and content hash for a key, {} if it is not a folder."""
    folder = Path(base).expanduser()
    if not folder.is_dir():
        return {}
    return {f"folder:{folder.name}": sha256_folder(model_files(folder), run.store.paths.digests)}


def train_baseline(run: Run, ift: Ref) -> None:
    """Train the SFT baseline: M0 on IFT alone."""
    _supervise(run, SFT_BASELINE, [ift], lambda: sft.ift_rows(run.read(ift)))


def train_m1(run: Run, ift: Ref, examples: Ref) -> None:
    """Train M1: M0 on IFT and EFT, or (ablation) on IFT alone."""
    use_eft = run.config.m1.use_eft

    def rows() -> list[Row]:
        judging = sft.eft_rows(run.read(examples), run.config.judge.rubric) if use_eft else []
        if use_eft and not judging:
            raise NothingToTrain(
                "M1: no EFT example was kept (the counts of iter1/eft_constructed say why). Use a "
                "stronger baseline, written examples (eft.selection.source = 'written', from a "
                "source that has them), or train M1 without them (m1.use_eft = false)"
            )
        return sft.ift_rows(run.read(ift)) + judging

    _supervise(
        run,
        model_ref(1),
        [ift, examples] if use_eft else [ift],
        rows,
        sections=("sft", "m1", "judge.rubric"),
    )


def _supervise(
    run: Run, ref: Ref, inputs: Sequence[Ref], rows: _Rows, *, sections: Sequence[str] = ()
) -> None:
    base = model_ref(0)

    def make() -> Built:
        job, where = run.job(ref, base, sft=run.config.sft), launch_of(run.config)
        given = rows()
        check_room(job, len(given), compared=False, apart=where.config != NONE)
        if where.config == NONE:
            return sft.train_sft(job, given)
        return launch.train_sft(job, given, where)

    run.model(ref, [base, *inputs], make, sections=(*sections, *_adapters(run)))


def _adapters(run: Run) -> tuple[str, ...]:
    """Return the LoRA section for a model's key, if LoRA is used.

    Without it the settings have no effect, and models made before LoRA was added stay current.
    """
    return ("lora",) if run.config.lora.enabled else ()


class Source(NamedTuple):
    """A model that a setting names: the artifacts or files it depends on, and how to open it."""

    inputs: list[Ref]
    sources: dict[str, str]
    open: _Open


def check_named(setting: str, name: str) -> None:
    """Check that a setting names a model of this run, a model folder, or a model of the hub.

    Raises:
        ConfigError: it names none of them.
    """
    folder = Path(name).expanduser()
    if not is_run_model(name) and not folder.is_dir() and not is_hub_name(name):
        raise ConfigError(
            f"{setting} = {name!r}: no such folder; use {', '.join(MODEL_NAMES)}, a folder or a "
            "hub name (owner/name)"
        )


def named_source(run: Run, setting: str, name: str, k: int) -> Source:
    """Return the model of this run, or the other one, that a setting names in iteration k.

    A hub model is identified by its name and revision, and downloaded when it is opened.

    Raises:
        ConfigError: as `check_named`.
    """
    check_named(setting, name)
    if is_run_model(name):
        ref = run.named_model(name, k)
        return Source([ref], {}, lambda stage: run.engines.model(ref, stage))
    if sources := local_model(run, name):
        (digest,) = sources.values()
        folder = Path(name).expanduser()
        return Source(
            [], sources, lambda stage: run.engines.folder(folder, stage, weights_sha256=digest)
        )
    section = run.config.model.model_copy(update={"base": name, "revision": None})
    return Source(
        [],
        {f"hub:{name}": sha256_text(name)},
        lambda stage: run.engines.folder(hub_folder(section, setting), stage),
    )


def prompt_writer(run: Run, k: int) -> Source:
    """Return the generator of new prompts."""
    return named_source(run, "prompts.generator", run.config.prompts.generator, k)


def checkpoint_judge(run: Run, k: int) -> Source:
    """Return the judge of checkpoints; an external one (`EXTERNAL`) has no engine to open."""
    name = run.config.dpo.early_stopping.judge
    if name != EXTERNAL:
        return named_source(run, "dpo.early_stopping.judge", name, k)

    def no_engine(stage: Ref) -> Engine:
        raise RuntimeError(f"{stage}: the external judge of checkpoints has no engine")

    return Source([], external_sources(run.config), no_engine)


def external_sources(config: Config) -> dict[str, str]:
    """Return the sources of a key of what the evaluation's judge decided."""
    # The server may come from the environment, which the configuration does not show.
    return PARSING | {"judge": sha256_text(identity_of(config.evaluation.judge))}


def _external_judge(run: Run) -> ExternalJudge:
    """Return the evaluation's judge, with its cassette and budget, as the judge of checkpoints."""
    from training.trainers.early_stopping import ExternalJudge

    allowed = run.config.evaluation.judge.allowed_failures
    return ExternalJudge(partial(opened_external, run), allowed)


@contextmanager
def opened_external(run: Run) -> Iterator[Judge]:
    """Open the evaluation's judge with its cassette and budget; say in the end what it cost."""
    section, paths = run.config.evaluation.judge, run.store.paths
    file = Path(section.cassette).expanduser() if section.cassette else paths.cassette

    def no_model() -> Engine:
        raise RuntimeError("evaluation.judge.backend is 'openai'")

    judge = open_judge(section, file, no_model, seed=run.config.seed)
    with closing(judge.cassette):
        yield judge
        if isinstance(judge, Recorded) and (line := judge.summary()):
            say(f"  {line}")


def improve(run: Run, k: int, pairs: Ref, judge_pairs: Ref | None = None) -> None:
    """Make M_k from iteration k's AI feedback, by DPO or by the positive-only ablation."""
    if run.config.improvement.method == "positive_only":
        _positive_only(run, k)
    else:
        _dpo(run, k, model_ref(k), pairs, judge_pairs)


def train_future(run: Run, k: int, pairs: Ref) -> Ref:
    """Train the model that answers one step ahead of iteration k's pairs, as M_k will be."""
    return _dpo(run, k, Ref(k, Stage.FUTURE), pairs, None)


def _dpo(run: Run, k: int, ref: Ref, pairs: Ref, judge_pairs: Ref | None) -> Ref:
    previous, section = model_ref(k - 1), run.config.dpo
    reference = run.named_model(section.reference, k)
    stopping = section.early_stopping
    data = [pairs, judge_pairs] if judge_pairs else [pairs]
    inputs = list(dict.fromkeys([*data, previous, reference]))
    sources: dict[str, str] = {}
    source = checkpoint_judge(run, k) if stopping.enabled else None
    if source:
        inputs = list(dict.fromkeys([*inputs, *source.inputs]))
        sources = source.sources | validation_source(run.config).content()
        sources |= pair_rubric_source(stopping.prompt)

    stopping_by = JUDGED_BY if source and stopping.judge == EXTERNAL else ()
    sections = (
        *("dpo", "improvement", *HOW_JUDGED, "engine.dtype"),
        *(*_adapters(run), *stopping_by),
    )

    def make() -> Built:
        from training.trainers.dpo import train_dpo

        other = None if reference == previous else reference
        job = run.job(ref, previous, reference=other, dpo=section)
        chosen = [row for row in run.read(pairs) if row.outcome == "pair"]
        if judge_pairs:
            judged = (row for row in run.read(judge_pairs) if row.outcome == "pair")
            chosen += [row.for_training() for row in judged]
        made_with = sha256_json(asdict(run.key(ref, inputs, sections, sources)))
        judge = _checkpoint_judge(run, job, ref, source, made_with) if source else None
        where = launch_of(run.config)
        check_room(job, len(chosen), compared=bool(judge), apart=where.config != NONE)
        if where.config == NONE:
            return train_dpo(job, chosen, judge)
        return launch.train_dpo(job, chosen, where, judge, run.engines.clear)

    return run.model(ref, inputs, make, sections=sections, sources=sources)


def _checkpoint_judge(
    run: Run, job: TrainingJob, stage: Ref, judge: Source, made_with: str
) -> CheckpointJudge:
    from training.trainers.early_stopping import CheckpointJudge

    def open_policy(folder: Path) -> Engine:
        run.engines.forget(folder)
        return run.engines.folder(folder, stage)

    section = run.config.dpo.early_stopping
    return CheckpointJudge(
        section,
        run.config.judge,
        validation_prompts(run.config),
        seed=run.config.seed,
        log=run.store.paths.verdicts(stage),
        work=job.work,
        start=job.policy,
        open_judge=partial(judge.open, stage),
        open_policy=open_policy,
        external=_external_judge(run) if section.judge == EXTERNAL else None,
        made_with=made_with,
    )


def _positive_only(run: Run, k: int) -> None:
    """Train M_k from M0 on the seed data and every candidate with the highest score (section 3.2).

    The paper's ablation without preference pairs: answers scored 5 in all readable draws are added.
    """
    ift, examples = Ref(1, Stage.IFT), Ref(1, Stage.EFT)
    feedback = [
        Ref(i, stage)
        for i in range(2, k + 1)
        for stage in (Stage.PROMPTS, Stage.CANDIDATES, Stage.JUDGMENTS)
    ]

    def rows() -> list[Row]:
        rubric = run.at(1).config.judge.rubric
        judging = sft.eft_rows(run.read(examples), rubric) if run.config.m1.use_eft else []
        seed_rows = sft.ift_rows(run.read(ift)) + judging
        return seed_rows + sft.ift_rows(e for i in range(2, k + 1) for e in perfect(run, i))

    _supervise(
        run,
        model_ref(k),
        [ift, examples, *feedback],
        rows,
        sections=("sft", "m1", "improvement", "judge.rubric"),
    )


def perfect(run: Run, k: int) -> list[Example]:
    """Return iteration k's candidates whose mean score is the highest there is."""
    config = run.at(k).config
    verified = config.improvement.judge == VERIFIER
    best = RIGHT_OR_WRONG[1] if verified else load_rubric(config.judge.rubric).high
    means = mean_scores(run.read(Ref(k, Stage.JUDGMENTS)))
    asked = {p.key: p for p in run.read(Ref(k, Stage.PROMPTS))}
    return [
        Example(
            c.key,
            asked[c.prompt_key].text,
            c.text,
            c.finish == "stop",
            asked[c.prompt_key].before,
        )
        for c in run.read(Ref(k, Stage.CANDIDATES))
        if c.key in means and means[c.key].mean == best
    ]

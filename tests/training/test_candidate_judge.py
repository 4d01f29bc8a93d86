"""Every judge of candidates behind the one stage: keys, resuming, recordings, costs, the plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config import Config
from core.errors import BudgetSpent, ConfigError, DataError, JudgeFailed, StaleArtifact
from core.records import Candidate, Judgment, Prompt
from core.stages import Ref, Stage
from core.store import Manifest
from judges import health
from judges.candidate_judges import RewardJudge, VerifierJudge
from judges.pointwise import JudgedAnswer
from tests.engines.rewarding import make_reward_model
from tests.servers import BROKEN, FakeOpenAI
from tests.training.making import KEY, write_jsonl
from training import answers
from training.answers import kept
from training.candidate_judge import check_candidate_judge, judge_kind
from training.data.pairs import select_pairs
from training.plan.plan import plan
from training.plan.work import longest, stage_work
from training.run import Run

NEW, ANSWERS = Ref(2, Stage.PROMPTS), Ref(2, Stage.CANDIDATES)
JUDGED, PAIRS = Ref(2, Stage.JUDGMENTS), Ref(2, Stage.PAIRS)
QUESTIONS = {"p1": "What is 2+2?", "p2": "What is 3+3?"}
REPLIES = {"p1/a0": "It is 4.", "p1/a1": "It is 5.", "p2/a0": "9 - 3 is 6", "p2/a1": "Six?"}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Run]:
    """Return a function that opens a run with two prompts and four answers in iteration 2."""
    source = write_jsonl(
        tmp_path / "prompts.jsonl",
        [{"prompt": QUESTIONS["p1"], "answer": "4"}, {"prompt": QUESTIONS["p2"], "answer": "6"}],
    )

    def opened(name: str, /, **sections: Any) -> Run:
        given: dict[str, Any] = {
            "out_dir": str(tmp_path / "runs"),
            "engine": {"device": "cpu", "dtype": "float32", "max_batch_rows": 2},
            "prompts": {"source": str(source)},
            "judge": {"draws": 1},
            "improvement": {"judge": name},
        }
        run = Run(Config.model_validate(given | sections))
        if not run.store.exists(NEW):
            rows = [Prompt(key, text, None, 0) for key, text in QUESTIONS.items()]
            found = [Candidate(k, k[:2], int(k[-1]), t, 3, "stop") for k, t in REPLIES.items()]
            for ref, items in ((NEW, rows), (ANSWERS, found)):
                with run.store.begin(ref, KEY) as out:
                    out.add_missing(items)
                    out.commit(lambda row: row.key, built())
        return run

    return opened


def built() -> Any:
    from core.store import Built

    return Built()


def judged(run: Run) -> dict[str, Judgment]:
    answers.judge(run, NEW, ANSWERS, JUDGED)
    return {row.subject_key: row for row in run.read(JUDGED)}


def manifest(run: Run) -> Manifest:
    return run.store.manifest(JUDGED)


def scores(found: dict[str, Judgment]) -> dict[str, float | None]:
    return {key: row.score for key, row in found.items()}


# --- A verifier


def test_a_verifier_scores_right_answers_1_and_says_what_it_found(make: Callable[..., Run]) -> None:
    run = make("verifier")
    found = judged(run)
    assert scores(found) == {"p1/a0": 1.0, "p1/a1": 0.0, "p2/a0": 1.0, "p2/a1": 0.0}
    assert found["p1/a1"].reply == "Final answer: 5; expected: 4"
    assert found["p2/a1"].reply == "Final answer: none; expected: 6"
    assert (manifest(run).engine, manifest(run).facts) == ("verifier", {"scale": [0.0, 1.0]})
    with run.store.begin(PAIRS, KEY) as out:
        select_pairs(kept(run, NEW), run.read(ANSWERS), run.read(JUDGED), run.config, out)
        pairs = [(row.chosen_key, row.rejected_key) for row in out.rows.values()]
    assert pairs == [("p1/a0", "p1/a1"), ("p2/a0", "p2/a1")]


def test_only_answers_and_the_judges_name_make_a_verifiers_judgments_stale(
    make: Callable[..., Run], tmp_path: Path
) -> None:
    judged(make("verifier"))
    # No rubric, temperature or dtype takes part.
    judged(make("verifier", judge={"rubric": "li", "temperature": 0.1, "draws": 5}))
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "What is 2+2?", "answer": "5"}])
    with pytest.raises(StaleArtifact, match=r"input file:prompts\.jsonl was"):
        judged(make("verifier"))


def test_a_prompt_without_a_check_is_missing_and_not_wrong() -> None:
    subject = JudgedAnswer("p9/a0", "p9", "Unknown?", "Yes.")
    (row,) = VerifierJudge({}).score_candidates([subject])
    assert (row.score, row.unparsed) == (None, "not_checkable")


def test_what_a_verifier_needs_is_said_before_anything_is_made(tmp_path: Path) -> None:
    def check(source: str) -> None:
        config = {"prompts": {"source": source}, "improvement": {"judge": "verifier"}}
        check_candidate_judge("", Config.model_validate(config))

    with pytest.raises(ConfigError, match=r"'verifier' needs prompts whose right answers.*GSM8K"):
        check("self")
    bare = write_jsonl(tmp_path / "bare.jsonl", [{"prompt": "Why?"}])
    with pytest.raises(DataError, match=r'bare\.jsonl:1: a verifier needs "prompt"'):
        check(str(bare))
    check("verifiable")  # the packaged task: IFEval's instructions


# --- A reward model


def test_a_reward_model_gives_scores_without_words_or_bounds(
    make: Callable[..., Run], tiny: Path, tmp_path: Path
) -> None:
    folder = make_reward_model(tiny, tmp_path / "rm")
    run = make(str(folder))
    found = judged(run)
    assert [(row.reply, row.unparsed, row.draw) for row in found.values()] == [("", None, 0)] * 4
    assert len(set(scores(found).values())) == 4
    assert manifest(run).facts == {"scale": None}
    assert (manifest(run).engine or "").startswith("transformers/float32/cpu/reward/")
    assert manifest(run).models == {manifest(run).key.inputs["judge:rm"]}
    assert manifest(run).counts == {"candidates_not_judged": 0, "parsed": 4}


def test_health_of_rewards_has_no_entropy_and_breaks_no_limit(
    make: Callable[..., Run], tiny: Path, tmp_path: Path
) -> None:
    run = make(str(make_reward_model(tiny, tmp_path / "rm")))
    source = answers.judge(run, NEW, ANSWERS, JUDGED)
    lengths = {key: len(text) for key, text in REPLIES.items()}
    measured = {m.key: m for m in health.measure(run.read(JUDGED), lengths, pointed=source.pointed)}
    entropy = measured["score_entropy_bits"]
    assert (entropy.value, entropy.n, entropy.detail) == (None, 0, {})
    assert health.problems([*measured.values()], run.config.health) == []
    # As points, rewards between 0 and 0.4 would all be 0: an entropy of 0 bits stops the run.
    close = [Judgment(f"p/a{n}/j0", f"p/a{n}", "p", 0, "", n / 10, None, 0) for n in range(5)]
    near = health.measure(close, {f"p/a{n}": 9 for n in range(5)})
    assert any("entropy 0.00" in found for found in health.problems(near, run.config.health))


def test_a_reward_stage_that_was_killed_resumes_to_the_same_bytes(
    make: Callable[..., Run], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(make_reward_model(tiny, tmp_path / "rm"))
    whole = make(folder)
    judged(whole)
    bytes_of = whole.store.paths.artifact(JUDGED).read_bytes
    first, seen = bytes_of(), []
    whole.store.remove([JUDGED])
    score = RewardJudge.score_candidates

    def dying(self: Any, subjects: Any, **given: Any) -> Iterator[Judgment]:
        for row in score(self, subjects, **given):
            seen.append(row.key)
            yield row
            raise KeyboardInterrupt

    monkeypatch.setattr(RewardJudge, "score_candidates", dying)
    with pytest.raises(KeyboardInterrupt):
        judged(make(folder))
    (row,) = [r for r in plan(make(folder).config, 2) if r.ref == JUDGED]
    assert row.state == "resumes after 1 rows"
    monkeypatch.setattr(RewardJudge, "score_candidates", score)
    judged(make(folder))
    assert bytes_of() == first


def test_other_weights_make_the_judgments_stale_and_a_rubric_does_not(
    make: Callable[..., Run], tiny: Path, tmp_path: Path
) -> None:
    folder = make_reward_model(tiny, tmp_path / "rm")
    judged(make(str(folder)))
    judged(make(str(folder), judge={"rubric": "li", "draws": 3}))
    shutil.rmtree(folder)
    make_reward_model(tiny, folder, hidden_size=16)
    with pytest.raises(StaleArtifact, match="input judge:rm was"):
        judged(make(str(folder)))


def test_a_reward_that_is_no_number_is_missing() -> None:
    class Broken:
        fingerprint = "broken"

        def score(self, _conversations: Any) -> Iterator[tuple[int, float | None, int]]:
            yield from ((0, float("nan"), 5), (1, None, 9999))

    subjects = [JudgedAnswer(f"p/a{n}", "p", "Q", "A") for n in range(2)]
    found = list(RewardJudge(Broken()).score_candidates(subjects))  # type: ignore[arg-type]
    assert [(row.score, row.unparsed) for row in found] == [
        (None, "not_finite"), (None, "prompt_too_long")
    ]  # fmt: skip


def test_perfect_answers_need_a_highest_score(tiny: Path, tmp_path: Path) -> None:
    folder = make_reward_model(tiny, tmp_path / "rm")
    given = {"improvement": {"judge": str(folder), "method": "positive_only"}}
    with pytest.raises(ConfigError, match="'positive_only' adds answers with the highest score"):
        check_candidate_judge("", Config.model_validate(given))


# --- A judge behind an API


def grade(messages: list[dict[str, str]]) -> str:
    return f"Fine.\n\nScore: {4 if 'It is 4' in messages[0]['content'] else 1}"


def behind(server: FakeOpenAI, **more: Any) -> dict[str, Any]:
    fixed = {"model": "gpt-4", "base_url": server.base_url, "concurrency": 1, "max_retries": 0}
    return {"evaluation": {"judge": {**fixed, **more}}}


def test_an_api_judge_is_quoted_recorded_and_paid_once(
    make: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeOpenAI(grade) as server:
        api = behind(server, price_usd=(10.0, 30.0), budget_usd=1.0)
        run = make("external", **api)
        found = judged(run)
        assert scores(found) == {"p1/a0": 4.0, "p1/a1": 1.0, "p2/a0": 1.0, "p2/a1": 1.0}
        said = capsys.readouterr().err
        assert "judge gpt-4: 4 requests" in said and "at most" in said and "USD" in said
        assert manifest(run).facts == {"judge": "gpt-4", "answered_by": {"served-model": 4}}
        run.store.remove([JUDGED])
        again = judged(make("external", **api))
        assert (again, len(server.bodies)) == (found, 4)  # all from the cassette
        # The draws are part of the requests: a second one asks for four more.
        run.store.remove([JUDGED])
        answers.judge(make("external", **api, judge={"draws": 2}), NEW, ANSWERS, JUDGED)
        assert len(server.bodies) == 8


def test_a_failed_request_stops_and_only_it_is_asked_again(make: Callable[..., Run]) -> None:
    with FakeOpenAI(grade, faults=[None, BROKEN]) as server:
        with pytest.raises(JudgeFailed, match="1 of 4 judge requests failed"):
            judged(make("external", **behind(server)))
        assert len(judged(make("external", **behind(server)))) == 4
        asked = [json.dumps(body["messages"]) for body in server.answered]
        assert len(asked) == len(set(asked)) == 4


def test_the_budget_holds_in_training_too(make: Callable[..., Run]) -> None:
    with FakeOpenAI(grade) as server:
        api = behind(server, price_usd=(10.0, 30.0), budget_usd=0.0)
        with pytest.raises(BudgetSpent, match="budget_usd = 0"):
            judged(make("external", **api))
        assert server.bodies == []


def test_another_model_behind_the_api_makes_the_judgments_stale(make: Callable[..., Run]) -> None:
    with FakeOpenAI(grade) as server:
        judged(make("external", **behind(server)))
        judged(make("external", **behind(server, budget_usd=2.0, price_usd=(1.0, 1.0))))
        with pytest.raises(StaleArtifact, match=r"evaluation\.judge\.model was 'gpt-4'"):
            judged(make("external", **behind(server, model="gpt-5")))


def test_an_external_judge_must_be_a_server() -> None:
    given = {"improvement": {"judge": "external"}, "evaluation": {"judge": {"backend": "model"}}}
    with pytest.raises(ConfigError, match=r"improvement\.judge = 'external' is the server that"):
        check_candidate_judge("", Config.model_validate(given))


# --- Names, and the plan


def test_names_of_models_folders_and_programs_are_told_apart(tiny: Path, tmp_path: Path) -> None:
    reward = make_reward_model(tiny, tmp_path / "rm")

    def kind(name: str) -> str:
        return judge_kind(Config.model_validate({"improvement": {"judge": name}}))

    named = ("self", "sft", "base", "m1", "previous", "M2", str(tiny))
    assert {kind(name) for name in named} == {"model"}
    assert [kind(str(reward)), kind("external"), kind("verifier")] == [
        "reward", "external", "verifier"
    ]  # fmt: skip
    config = Config.model_validate({"improvement": {"judge": "/nowhere"}})
    with pytest.raises(ConfigError, match=r"improvement\.judge = '/nowhere': no such folder"):
        check_candidate_judge("iteration.3.", config)


def test_a_model_that_is_not_made_yet_cannot_judge(make: Callable[..., Run]) -> None:
    with pytest.raises(ConfigError, match="M2 is not there yet when M2 is made"):
        judged(make("M2"))


def test_the_plan_knows_what_each_judge_costs(
    make: Callable[..., Run], tiny: Path, tmp_path: Path
) -> None:
    reward = str(make_reward_model(tiny, tmp_path / "rm"))

    def bounds(judge: str) -> tuple[int | None, int | None]:
        config = make(judge, prompts={"source": "verifiable", "count": 10}, judge={"draws": 3})
        (row,) = [r for r in plan(config.config, 2) if r.ref == JUDGED]
        return row.rows, row.tokens

    # 10 prompts, 4 answers each; 3 draws of at most 256 tokens, or one score without words.
    assert bounds("self") == (120, 120 * 256)
    assert bounds("external") == (120, 0)
    assert bounds(reward) == bounds("verifier") == (40, 0)
    for judge, scored in ((reward, 10 * 4 * (36 + 1024)), ("verifier", 0), ("external", 0)):
        config = make(judge, prompts={"source": "verifiable", "count": 10}).config
        work = stage_work(config, JUDGED, longest(config))
        assert sum(one.scored for one in work) == scored
        assert sum(one.written for one in work) == 0

"""Run folders made of a few artifacts, with manifests as a real run writes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from core.benchmarks import SCORING
from core.config import Config
from core.reader import RunReader
from core.records import ItemScore, Score
from core.stages import Ref, Stage, evaluation_ref, named_model
from core.store import Built, Key, Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GPT_4 = "gpt-4-1106-preview"
QUESTIONS = "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7"


def score(key: str, value: float | None, n: int, missing: int = 0, **more: Any) -> Score:
    """A score with an interval of ±1 unless another is given."""
    span = {} if value is None else {"low": value - 1, "high": value + 1}
    return Score(key, value, n, missing, **{**span, **more})


class RunBuilder:
    """Writes artifacts below a folder; every method returns the builder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder)
        (folder / "eval").mkdir(parents=True, exist_ok=True)

    def config(self, *, evaluation: Mapping[str, Any] | None = None, **sections: Any) -> Self:
        """Write config.json: the defaults, with these parts changed."""
        config = Config.model_validate({"evaluation": evaluation or {}, **sections})
        text = json.dumps(config.model_dump(mode="json"))
        self.folder.joinpath("config.json").write_text(text, encoding="utf-8")
        return self

    def model(self, name: str, *, base: str = "embedded", origin: str = "") -> Self:
        """Make one of the run's models: M0 with what it is, others as they come."""
        ref = named_model(name)
        built = self.folder / "built"
        built.mkdir()
        (built / "model.safetensors").write_bytes(name.encode())
        config = {"model": {"base": base}} if name == "M0" else {}
        self.store.paths.folder(ref).mkdir(exist_ok=True)
        facts = {"origin": origin} if origin else {}
        self.store.commit_model(ref, Key({}, config, 0), built, Built(facts=facts))
        return self

    def rows(
        self,
        ref: Ref,
        rows: Sequence[Any],
        *,
        inputs: dict[str, str] | None = None,
        config: dict[str, Any] | None = None,
        built: Built | None = None,
    ) -> Self:
        """Make an artifact of rows."""
        with self.store.begin(ref, Key(inputs or {}, config or {}, 0)) as out:
            for row in rows:
                out.add(row)
            out.commit(lambda row: row.key, built or Built())
        return self

    def scores(self, address: str, *scores: Score, facts: dict[str, Any] | None = None) -> Self:
        """Make the scores of a benchmark."""
        ref = evaluation_ref(address, Stage.SCORES)
        return self.rows(ref, scores, inputs=SCORING, built=Built(facts=facts or {}))

    def judged(
        self,
        address: str,
        stage: Stage,
        *,
        judge: str = GPT_4,
        host: str = "api.openai.com",
        config: dict[str, Any] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Self:
        """Make what a judge behind an API said, without rows: the manifest is what counts."""
        settings = {"evaluation.judge.backend": "openai", "evaluation.judge.model": judge}
        built = Built(facts=facts or {}, engine=f"openai/{host}/{judge}")
        ref = evaluation_ref(address, stage)
        return self.rows(ref, [], config={**settings, **(config or {})}, built=built)

    def items(
        self, address: str, values: Mapping[str, float], *, metric: str = "acc", data: str = "hub"
    ) -> Self:
        """Make the items of an NLP task: name of the item ("arc_easy/0") → 0 or 1."""
        rows = [
            ItemScore(key, key.rpartition("/")[0], key.rpartition("/")[2], {metric: value}, {})
            for key, value in values.items()
        ]
        built = Built(facts={"data": data})
        return self.rows(evaluation_ref(address, Stage.ITEMS), rows, built=built)

    def failed(self, **failures: str) -> Self:
        """Record failed benchmarks: address below eval/, with __ for the slashes, and why."""
        found = {address.replace("__", "/"): why for address, why in failures.items()}
        path = self.store.paths.outcomes
        path.write_text(json.dumps({"failed": found}), encoding="utf-8")
        return self

    def open(self) -> RunReader:
        """Open what is there by now."""
        return RunReader(self.folder)


def imported(
    folder: Path, model: str, *scores: Score, benchmark: str = "alpaca_eval", **facts: Any
) -> RunBuilder:
    """A folder with one model's imported results, as `srlm-eval import` leaves it."""
    of_alpaca = {"annotator": "weighted_alpaca_eval_gpt4_turbo", "reference": "gpt4_1106_preview"}
    known = of_alpaca if benchmark == "alpaca_eval" else {"judge": "gpt-4"}
    found = {"imported": f"{model}.json", "model": model, **known, **facts}
    return RunBuilder(folder).scores(f"{model}/{benchmark}", *scores, facts=found)

"""Multiple-choice scoring against lm-eval's HFLM, on the real files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.comparison import alternate, compared, missing
from benchmarks.data_files import NotHere, shared_file
from benchmarks.model_cost import Shape, scoring_cost
from benchmarks.same_scores import compare_rounding, compare_scores
from core.config import EngineSection
from engines.embedded import embedded_folder
from engines.engine import Continuation
from engines.hf.engine import HFEngine
from engines.models import load_tokenizer
from engines.prompting import Prompter
from evaluation.nlp.data import load_tasks

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from benchmarks.comparison import Row
    from benchmarks.machine import Machine
    from benchmarks.workloads import Dtype

_WARM_ITEMS = 1


class Load(NamedTuple):
    """A scoring workload: the first `items` of a task, of each of `subjects` (mmlu only).

    `peer_batch`: HFLM's batch size, its best of a few (benchmarks/peer_settings.py).
    `same_examples`: the first `shots` items of the file are the examples of all others, and none
    of them is scored. Otherwise the task's own sampler decides: for mmlu the first of each subject,
    for arc others for every item.
    """

    task: str
    shots: int
    items: int
    peer_batch: int
    subjects: tuple[str, ...] = ()
    same_examples: bool = False

    def instances(self) -> list[list[Instance]]:
        """Return lm-eval's requests, those of one item together.

        Raises:
            NotHere: the real files are absent.
        """
        from lm_eval.api.samplers import FirstNSampler

        data = shared_file("benchmarks")
        tasks = load_tasks(self.task, str(data), seed=0)
        found: list[list[Instance]] = []
        for name in [f"{self.task}_{s}" for s in self.subjects] or [self.task]:
            task = tasks[name]
            task.set_config(key="num_fewshot", value=self.shots)
            first = 0
            if self.same_examples:
                task.sampler = FirstNSampler(task.sampler.df)
                first = self.shots
            wanted = list(range(first, first + self.items))
            task.build_all_requests(samples=wanted, rank=0, world_size=1)
            by_item: dict[int, list[Instance]] = {}
            for instance in task.instances:
                by_item.setdefault(instance.doc_id, []).append(instance)
            found += by_item.values()
        return found


# Fewer items of ARC with 25 examples: HFLM takes 12 s for each.
HELLASWAG = Load("hellaswag", 0, 32, peer_batch=4)
ARC = Load("arc_challenge", 0, 32, peer_batch=8)
MMLU = Load("mmlu", 5, 20, peer_batch=1, subjects=("anatomy", "philosophy"))
ARC_25 = Load("arc_challenge", 25, 8, peer_batch=4, same_examples=True)
ARC_25_DRAWN = Load("arc_challenge", 25, 6, peer_batch=4)


def hellaswag0(machine: Machine, repeats: int) -> Row:
    """Compare HellaSwag without examples."""
    return _against_hflm(HELLASWAG, machine, repeats)


def arc0(machine: Machine, repeats: int, dtype: Dtype = "float32") -> Row:
    """Compare ARC-Challenge without examples."""
    return _against_hflm(ARC, machine, repeats, dtype)


def mmlu5(machine: Machine, repeats: int) -> Row:
    """Compare MMLU with five examples for each subject."""
    return _against_hflm(MMLU, machine, repeats)


def arc25(machine: Machine, repeats: int) -> Row:
    """Compare ARC-Challenge with the same 25 examples for every item."""
    return _against_hflm(ARC_25, machine, repeats)


def arc25_drawn(machine: Machine, repeats: int) -> Row:
    """Compare ARC-Challenge with 25 examples drawn for every item, as lm-eval's default is."""
    return _against_hflm(ARC_25_DRAWN, machine, repeats)


def hflm(batch: int, dtype: Dtype = "float32") -> Any:
    """Return lm-eval's HFLM over the embedded model, on the CPU."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(embedded_folder()), device="cpu", dtype=dtype, batch_size=batch)


def _against_hflm(load: Load, machine: Machine, repeats: int, dtype: Dtype = "float32") -> Row:
    peer = f"lm-eval HFLM, batch size {load.peer_batch}"
    try:
        items = load.instances()
    except NotHere as absent:
        return missing(peer, str(absent))
    asked = [instance for item in items for instance in item]
    requests = [Continuation(*instance.args) for instance in asked]
    engine = HFEngine(embedded_folder(), EngineSection(device="cpu", dtype=dtype))
    theirs = hflm(load.peer_batch, dtype)
    few = len([instance for item in items[:_WARM_ITEMS] for instance in item])
    engine.score(requests[:few])
    theirs.loglikelihood(asked[:few], disable_tqdm=True)
    found: dict[str, Any] = {}

    def score() -> None:
        found["ours"] = engine.score(requests)

    def score_by_hflm() -> None:
        found["theirs"] = theirs.loglikelihood(asked, disable_tqdm=True)

    timings = alternate(score, score_by_hflm, repeats)
    facts: dict[str, Any]
    if dtype == "bfloat16":
        exact = hflm(load.peer_batch).loglikelihood(asked, disable_tqdm=True)
        rounding = compare_rounding(found["ours"], found["theirs"], exact)
        equal, facts = rounding.equal, {"mean_difference_to_float32": list(rounding)}
    else:
        same = compare_scores(found["ours"], found["theirs"], [len(item) for item in items])
        equal, facts = same.equal, same.facts()
    pairs = Prompter(load_tokenizer(embedded_folder())).pairs(requests)
    cost = scoring_cost(Shape.of(theirs.model.config), pairs)
    return compared(
        timings,
        peer=peer,
        equal=equal,
        amount=len(items),
        unit="items",
        n=len(items),
        requests=len(requests),
        tokens=sum(len(pair.context) + len(pair.target) for pair in pairs),
        dtype=dtype,
        **facts,
        **cost.shares(min(timings.ours), machine),
    )

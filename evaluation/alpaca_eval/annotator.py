"""AlpacaEval 2.0 annotations: a judge compares a model's answers with a reference's.

Prompt, presentation order, parser and processors are the alpaca-eval package's; only the requests
are sent here, so that any judge can answer and every paid reply is stored at once.
"""

from __future__ import annotations

import difflib
import json
import logging
import re
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ConfigError
from core.records import ANSWERED, DRAW, Annotation, zero_is_a_draw
from core.store import Built
from core.thinking import after_thought
from evaluation.judge import record_replies
from judges.asking import Ask
from judges.backends.recorded import reply_facts
from judges.distribution import LEAST_MASS
from judges.pairwise import VERDICT_LEAD, verdict_mass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from core.records import Generation, Message
    from core.store import Partial
    from judges.asking import Judge, Reply

ORDER_SEED = 0  # of the presentation order: the package's default, with which all files are made
_FIELD = re.compile(r"(\{instruction\}|\{output_1\}|\{output_2\})")
_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)
# The package's decoding defaults (decoders/openai.py).
_DEFAULTS = {"max_tokens": 2048, "temperature": 0.7, "top_p": 1.0}
_LENGTHS = ("max_tokens", "max_tokens_to_sample", "max_new_tokens")
# Settings of the package's own client, which the judge replaces.
_CLIENT = {
    "model_name", "price_per_token", "requires_chatml", "is_chatml_prompt", "is_chat", "num_procs",
    "client_kwargs", "client_function_name", "model_kwargs", "batch_size", "is_strip", "logprobs",
}  # fmt: skip
_COMPLETIONS = ("completions", "completions_all")


class AnswerPair(NamedTuple):
    """The reference's answer (`output_1`) and the model's (`output_2`) to one instruction."""

    key: str
    instruction: str
    output_1: str
    output_2: str


class Preference(NamedTuple):
    """A preference in [1, 2] for output_2, or None and why; `raw` is the reply as JSON text."""

    preference: float | None
    missing: str | None
    raw: str


class PackageAnnotator:
    """One annotator configuration of the package: comparisons → requests, replies → outcomes."""

    def __init__(self, name: str, reading: str = "words") -> None:
        """Load the configuration; `reading` as `evaluation.judge.reading`.

        Raises:
            ConfigError: unknown name, or it needs what a `Judge` does not support (functions,
                logit bias, several comparisons in one prompt, no chat format).
        """
        self.name, self._lead = name, "" if reading == "words" else VERDICT_LEAD
        with package_contained():
            from alpaca_eval.annotators import SinglePairwiseAnnotator
            from alpaca_eval.constants import EVALUATORS_CONFIG_DIR

            settings = _settings(EVALUATORS_CONFIG_DIR, name)
            self._sampling = _sampling(name, settings.pop("completions_kwargs", {}))
            self._single = SinglePairwiseAnnotator(
                **settings | {"fn_completions": _never_called},
                seed=ORDER_SEED,
                base_dir=EVALUATORS_CONFIG_DIR,
                annotation_column="preference",
                completion_column="preference_raw_completion",
            )
        self._template = _turns(name, self._single.prompt_template)
        if self._single.batch_size != 1 or self._single.completion_key not in _COMPLETIONS:
            raise ConfigError(f"annotator {name!r}: several comparisons in one prompt: unsupported")
        self._frame: Any = None

    @property
    def max_new_tokens(self) -> int:
        """The token limit of a reply."""
        return int(self._sampling["max_new_tokens"])

    def asks(self, comparisons: Sequence[AnswerPair]) -> list[Ask]:
        """Return one request per pair, in the presentation order drawn from the package's seed.

        Fields are filled in one pass after splitting into messages, so answers that contain
        "{output_1}" or "<|im_end|>" reach the judge unchanged. All other requests are identical
        to the package's.
        """
        import pandas as pd

        if not comparisons:
            return []
        frame = pd.DataFrame(comparisons, dtype=object).set_index("key")
        with package_contained():
            # The package has no public API for this step. It also shuffles: harmless here.
            self._frame = self._single._preprocess(frame)  # noqa: SLF001
        return [self._ask(item.key) for item in comparisons]

    def read(self, reply: Reply) -> Preference:
        """Parse a reply to a request of the last `asks` with the package's parser.

        Only values in [1, 2] are preferences; 0 is a draw. `raw` keeps a thought, which is not
        parsed; without its end the reply says nothing ("cut_off" if cut, else "unparsed"). A
        preference from log-probabilities needs the verdict's tokens to have half of the
        probability ("no_verdict_token").
        """
        if reply.finish in ("refused", "too_long", "failed"):
            return Preference(None, reply.finish, "")
        raw = json.dumps(self._completion(reply), ensure_ascii=False)
        said = after_thought(reply.text)
        if said.unclosed:
            return Preference(None, "cut_off" if reply.finish == "length" else "unparsed", raw)
        completion = self._completion(replace(reply, text=said.text))
        if tokens := self._tokens():
            place = self._parser_settings().get("log_prob_index", 0)
            mass = verdict_mass(reply, tokens, place if isinstance(place, int) else 0)
            if mass is None or mass < LEAST_MASS:
                return Preference(None, "no_logprobs" if mass is None else "no_verdict_token", raw)
        with package_contained():
            parsed, _ = self._single._parse_completions([completion])  # noqa: SLF001
            value = _number(parsed[0])
            if value is None:
                return Preference(None, "unparsed", raw)
            value = zero_is_a_draw(value)  # 0 would become 3 where the order was switched
            if not 1 <= value <= 2:  # noqa: PLR2004 - the package's range
                return Preference(None, "out_of_range", raw)
            row = self._frame.loc[[reply.key]].assign(
                preference=value, preference_raw_completion=[completion]
            )
            found = self._single._postprocess(row)  # noqa: SLF001 - undoes the switch
        return Preference(float(found["preference"].iloc[0]), None, raw)

    def _ask(self, key: str) -> Ask:
        shown = self._frame.loc[key]
        values = {f"{{{field}}}": shown[field] for field in AnswerPair._fields[1:]}
        messages = tuple(_filled(role, parts, values) for role, parts in self._template)
        weigh = self._tokens() if self.max_new_tokens == 1 else ()
        lead = self._lead if weigh else ""
        return Ask(key=key, messages=messages, **self._sampling, weigh=weigh, lead=lead)

    def _parser_settings(self) -> dict[str, Any]:
        return dict(self._single.fn_completion_parser.keywords)

    def _tokens(self) -> tuple[str, ...]:
        """Return the tokens whose probabilities give the verdict; () if its text does."""
        return tuple(self._parser_settings().get("denominator_tokens", ()))

    def _completion(self, reply: Reply) -> Any:
        text = reply.text or " "  # as the package's decoder: its parsers refuse empty text
        if self._single.completion_key == "completions":
            return text
        return {
            "finish_reason": reply.finish,
            "index": 0,
            "logprobs": reply.logprobs,
            "message": {"content": reply.text, "role": "assistant"},
            "text": text,
            "total_tokens": reply.tokens_in + reply.tokens_out,
        }


def annotate(
    judge: Judge,
    answers: Sequence[Generation],
    reference: Mapping[str, str],
    *,
    names: tuple[str, str],
    annotator: str,
    reading: str = "words",
    allowed_failures: float,
    out: Partial,
) -> Built:
    """Write one annotation per answer that `out` lacks, each as soon as its reply is parsed.

    Identical outputs are a draw (1.5) without a request, as in the package. Rows without a
    preference have the reason in `missing`: "no_answer" (the model gave none),
    "no_reference", "too_long" and "refused" (the judge's), "cut_off", "unparsed", "out_of_range",
    "no_logprobs", "no_verdict_token", "failed". The row's `annotator` names the configuration and
    the judge, so that results are never mixed.

    `answers` are the model's, one per prompt; `reference` maps prompt keys to the reference's.
    `names` are those of the reference and the model, `annotator` the package's configuration.
    `reading`: "expected" weighs the verdict's tokens of a local judge behind a lead.

    Raises:
        ConfigError: the annotator is unknown or unsupported.
        JudgeFailed: see `record_replies`.
    """
    rules = PackageAnnotator(annotator, reading)
    given = {answer.prompt_key: answer for answer in answers}

    def row(key: str, found: Preference) -> Annotation:
        return Annotation(
            key=key,
            instruction=given[key].prompt,
            output_1=reference.get(key, ""),
            output_2=given[key].text,
            generator_1=names[0],
            generator_2=names[1],
            annotator=f"{annotator} by {judge.name}",
            preference=found.preference,
            missing=found.missing,
            raw_completion=found.raw,
        )

    known = {key: _known(answer, reference) for key, answer in given.items()}
    comparisons = [
        AnswerPair(key, answer.prompt, reference[key], answer.text)
        for key, answer in given.items()
        if known[key] is None
    ]
    asks = rules.asks(comparisons)
    record_replies(
        judge,
        [ask for ask in asks if ask.key not in out.rows],
        lambda reply: row(reply.key, rules.read(reply)),
        out,
        title=f"AlpacaEval: {names[1]} against {names[0]}",
        total=len(answers),
        allowed_failures=allowed_failures,
    )
    # Last, so that a judge that never answered leaves nothing that was begun with its settings.
    out.add_missing(row(key, found) for key, found in known.items() if found is not None)
    missing = Counter(row.missing for row in out.rows.values() if row.missing is not None)
    counts = {f"missing_{reason}": n for reason, n in sorted(missing.items())}
    return Built(
        counts={"annotated": len(out.rows) - missing.total(), **counts},
        facts={"annotator": annotator, "order_seed": ORDER_SEED} | reply_facts(judge, asks),
        engine=judge.identity,
    )


def _known(answer: Generation, reference: Mapping[str, str]) -> Preference | None:
    """Return the outcome if no request is needed, else None."""
    if answer.finish not in ANSWERED:
        return Preference(None, "no_answer", "")
    if answer.prompt_key not in reference:
        return Preference(None, "no_reference", "")
    return Preference(DRAW, None, "") if answer.text == reference[answer.prompt_key] else None


@contextmanager
def package_contained() -> Iterator[None]:
    """Contain the package's side effects on logging and warnings.

    It sets the root logger's level on import, where it also warns of its own use of pkg_resources,
    and logs a traceback for every reply it cannot parse; such replies are counted here instead.
    """
    root, disabled = logging.getLogger(), logging.root.manager.disable
    level = root.level
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)


def _settings(folder: Path, name: str) -> dict[str, Any]:
    from alpaca_eval.utils import load_configs

    known = sorted(path.parent.name for path in folder.glob("*/configs.yaml"))
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, n=3)) or ", ".join(known[:5])
        message = f"evaluation.alpaca_eval.annotator = {name!r}: the package has none; near: {near}"
        raise ConfigError(message)
    found = load_configs(folder / name)
    if len(found) != 1:
        message = (
            f"annotator {name!r} is a pool of {len(found)}: judges are never mixed in one result"
        )
        raise ConfigError(message)
    return dict(next(iter(found.values())))


def _sampling(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(settings)
    length = next((given.pop(k) for k in _LENGTHS if k in given), _DEFAULTS["max_tokens"])
    found = {
        "max_new_tokens": length,
        "temperature": given.pop("temperature", _DEFAULTS["temperature"]),
        "top_p": given.pop("top_p", _DEFAULTS["top_p"]),
        "top_logprobs": given.pop("top_logprobs", 0),
    }
    if unknown := sorted(given.keys() - _CLIENT):
        message = f"annotator {name!r} needs {', '.join(unknown)}, which judges here do not support"
        raise ConfigError(message)
    return found


def _turns(name: str, template: str) -> list[tuple[str, list[str]]]:
    turns = _TURN.findall(template)
    if not template.strip().startswith("<|im_start|>") or not turns:
        raise ConfigError(f"annotator {name!r}: its prompt is not in chat format")
    return [(role, _FIELD.split(content.strip())) for role, content in turns]


def _filled(role: str, parts: Sequence[str], values: Mapping[str, str]) -> Message:
    return {"role": role, "content": "".join(values.get(part, part) for part in parts).strip()}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if value != value else float(value)  # noqa: PLR0124 - NaN, of whatever float type


def _never_called(*_: object, **__: object) -> dict[str, list[Any]]:
    raise AssertionError("requests go through the judge")

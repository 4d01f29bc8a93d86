"""Log-probabilities of continuations; what requests share is computed once.

Requests with one context (the choices of a question) become one row: the context, then each
continuation as a branch that attends to the context and itself only. A prefix that rows share (a
few-shot header) is run once. Logits are computed only for the tokens to be scored.

Branches need a model whose attention takes any mask and whose positions come from `position_ids`;
other models are scored one request at a time.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import torch

from core.errors import ModelError
from engines.engine import Logprob
from engines.hf.attention import can_share, run, tokens_at_once
from engines.hf.segments import attend, join
from engines.hf.shared_states import SharedPrefix, group_by_prefix
from engines.prompting import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from engines.hf.attention import NewTokens

# Continuations of one context share a row up to this length.
_ROW_TOKENS = 4096
# Positions whose logits exist at the same time: 256 of 128,000 tokens in float32 are 131 MB.
_LOGIT_ROWS = 256


class _Branch(NamedTuple):
    """One continuation in a row: which request it answers, and where its tokens begin."""

    request: int
    target: list[int]
    start: int


class _Row(NamedTuple):
    """A context (without the shared prefix) and its branches."""

    context: list[int]
    branches: list[_Branch]
    length: int


def score_pairs(
    model: PreTrainedModel, pairs: Sequence[Pair], *, window: int, cache_tokens: int
) -> list[Logprob]:
    """Return one log-probability per pair, in order.

    Args:
        model: a causal language model in evaluation mode.
        pairs: tokens; a pair too long for the window loses the beginning of its context.
        window: the model's context window in tokens.
        cache_tokens: bound on rows x tokens of one forward pass, the shared prefix included.

    Raises:
        ModelError: a continuation alone is longer than the window.
    """
    fitted = [_fit(pair, window) for pair in pairs]
    if not can_share(model):
        return [_score_alone(model, pair) for pair in fitted]
    results: dict[int, Logprob] = {}
    at_once = tokens_at_once(model.device)
    for shared, group in group_by_prefix(_questions(fitted), lambda row: row.context):
        rows = [_without_prefix(row, len(shared)) for row in group]
        prefix = SharedPrefix()
        if shared:
            prefix.read(model, shared)
        rows.sort(key=lambda row: -row.length)
        start = 0
        while start < len(rows):
            width = rows[start].length
            count = min(at_once // width, cache_tokens // (len(shared) + width))
            batch = rows[start : start + max(1, count)]
            results |= _score_batch(model, batch, prefix, len(shared))
            start += len(batch)
    return [results[i] for i in range(len(pairs))]


def _fit(pair: Pair, window: int) -> Pair:
    if len(pair.target) > window:
        raise ModelError(
            f"a continuation of {len(pair.target)} tokens cannot be scored: the model's context "
            f"window holds {window}"
        )
    # The last token is predicted but not read, so one more than the window fits (as in lm-eval).
    room = window + 1 - len(pair.target)
    return Pair(pair.context[-room:], pair.target)


def _questions(pairs: Sequence[Pair]) -> list[_Row]:
    """Put continuations of one context into one row, up to a bound."""
    rows: dict[tuple[int, ...], list[_Row]] = defaultdict(list)
    for at, (context, target) in enumerate(pairs):
        found = rows[tuple(context)]
        more = max(0, len(target) - 1)
        if not found or found[-1].length + more > max(_ROW_TOKENS, len(context)):
            found.append(_Row(context, [], len(context)))
        row = found[-1]
        row.branches.append(_Branch(at, target, row.length))
        found[-1] = row._replace(length=row.length + more)
    return [row for found in rows.values() for row in found]


def _without_prefix(row: _Row, shared: int) -> _Row:
    branches = [branch._replace(start=branch.start - shared) for branch in row.branches]
    return _Row(row.context[shared:], branches, row.length - shared)


class _BranchState:
    """Rows of a context and its branches attend to the prefix, and to each other by `mask`.

    Without a mask attention is causal.
    """

    def __init__(self, prefix: SharedPrefix, mask: torch.Tensor | None) -> None:
        self._prefix, self._mask = prefix, mask

    def attend(self, new: NewTokens) -> torch.Tensor:
        """See `AttentionState`."""
        mask = self._mask
        own = attend(new.query, new.key, new.value, scale=new.scale, mask=mask, causal=mask is None)
        return join([own, *self._prefix.attend(new)])


def _score_batch(
    model: PreTrainedModel, rows: list[_Row], prefix: SharedPrefix, shared: int
) -> dict[int, Logprob]:
    ids, positions, segments = _pack(rows, shared)
    mask = None
    if any(len(row.branches) > 1 for row in rows):
        mask = _branch_mask(segments.to(model.device)).to(model.dtype)
    state = _BranchState(prefix, mask)
    hidden = run(model, ids.to(model.device), positions.to(model.device), state)
    # Every token to be scored: where it is predicted, its id, and its branch.
    places: list[int] = []
    tokens: list[int] = []
    owners: list[int] = []
    branches = [(at, row, branch) for at, row in enumerate(rows) for branch in row.branches]
    for owner, (at, row, branch) in enumerate(branches):
        first = at * ids.shape[1] + len(row.context) - 1
        rest = range(at * ids.shape[1] + branch.start, (at + 1) * ids.shape[1])
        places += [first, *rest][: len(branch.target)]
        tokens += branch.target
        owners += [owner] * len(branch.target)
    values, hits = _logprobs_at(model, hidden.flatten(0, 1), places, tokens)
    index = torch.tensor(owners, dtype=torch.long)
    totals = torch.zeros(len(branches), dtype=torch.double).index_add_(0, index, values)
    misses = torch.zeros(len(branches)).index_add_(0, index, (~hits).float())
    scored = zip(branches, totals.tolist(), misses.tolist(), strict=True)
    return {
        branch.request: Logprob(total, len(branch.target), not missed)
        for (_, _, branch), total, missed in scored
    }


def _pack(rows: list[_Row], shared: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, positions and segments (0: context, 1...: its branches), shape (rows, longest).

    Padding has id 0 and belongs to the last branch: no scored token attends to it.
    """
    width = max(row.length for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    positions, segments = torch.zeros_like(ids), torch.zeros_like(ids)
    for at, row in enumerate(rows):
        known = len(row.context)
        ids[at, :known] = torch.tensor(row.context)
        positions[at, :known] = torch.arange(shared, shared + known)
        for number, branch in enumerate(row.branches, start=1):
            read = branch.target[:-1]
            end = branch.start + len(read)
            ids[at, branch.start : end] = torch.tensor(read, dtype=torch.long)
            positions[at, branch.start : end] = torch.arange(len(read)) + shared + known
            segments[at, branch.start :] = number
    return ids, positions, segments


def _branch_mask(segments: torch.Tensor) -> torch.Tensor:
    """Return what to add to scores: 0, or -inf, shape (rows, 1, tokens, tokens).

    A token attends to the earlier tokens of its context and its own branch.
    """
    same = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
    hidden = ~same.tril()
    mask = torch.zeros(hidden.shape, device=hidden.device)
    return mask.masked_fill(hidden, float("-inf"))[:, None]


def _logprobs_at(
    model: PreTrainedModel, hidden: torch.Tensor, places: list[int], tokens: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each token's log-probability (double) and whether it is the most probable one.

    Tokens predicted at one place share its logits.
    """
    head = model.get_output_embeddings()
    wanted = torch.tensor(tokens, dtype=torch.long, device=hidden.device)
    where, inverse = torch.tensor(places, dtype=torch.long).unique(return_inverse=True)
    where, inverse = where.to(hidden.device), inverse.to(hidden.device)
    values = torch.zeros(len(tokens), dtype=torch.double, device=hidden.device)
    hits = torch.zeros(len(tokens), dtype=torch.bool, device=hidden.device)
    for start in range(0, len(where), _LOGIT_ROWS):
        logps = torch.log_softmax(head(hidden[where[start : start + _LOGIT_ROWS]]).float(), dim=-1)
        inside = (inverse >= start) & (inverse < start + _LOGIT_ROWS)
        at = inverse[inside] - start
        values[inside] = logps[at, wanted[inside]].double()
        hits[inside] = logps.argmax(dim=-1)[at] == wanted[inside]
    return values.cpu(), hits.cpu()


def _score_alone(model: PreTrainedModel, pair: Pair) -> Logprob:
    if not pair.target:
        return Logprob(0.0, 0, greedy=True)
    ids = torch.tensor([(pair.context + pair.target)[:-1]], device=model.device)
    given = {"logits_to_keep": len(pair.target)}
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        given = {}
    logits = model(input_ids=ids, use_cache=False, **given).logits[0, -len(pair.target) :]
    logps = torch.log_softmax(logits.float(), dim=-1)
    wanted = torch.tensor(pair.target, device=model.device)
    total = logps.gather(1, wanted[:, None]).double().sum()
    return Logprob(float(total), len(pair.target), bool((logps.argmax(dim=-1) == wanted).all()))

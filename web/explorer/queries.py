"""What an address may ask: filters by name, words, keys and pages, each within its bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query

Iteration = Annotated[int, Path(ge=0, le=999_999, description="Number of the iteration.")]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description="Page of a list, from 1.")]
RowKey = Annotated[str, Query(max_length=2000, description="Key of a row.")]
Name = Annotated[str, Query(max_length=300, description="A name: outcome, model, artifact.")]
SearchWords = Annotated[
    str, Query(max_length=300, description='Words that must all occur; "…" keeps them together.')
]
Raw = Annotated[bool, Query(description="Texts letter by letter instead of as Markdown.")]
Whole = Annotated[bool, Query(description="Texts uncut, however long.")]

Order = Literal["made", "longest"]
JudgmentOrder = Literal["made", "longest", "highest", "lowest"]
PairOrder = Literal["made", "gap", "closest", "longest"]
GradeOrder = Literal["made", "longest", "lowest"]

JudgmentShow = Literal["all", "disagreement"]
BothShow = Literal["all", "apart", "reversed", "unparsed"]
FlipShow = Literal["all", "flips", "half", "unparsed", "ties"]
GradeShow = Literal["all", "unparsed", "disagreement"]
ItemShow = Literal["all", "differ", "wrong", "right"]
RankedShow = Literal["all", "wrong", "unparsed"]

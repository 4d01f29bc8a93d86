"""Bugs of shared-prefix sampling to be planted by tests/test_planted_bugs.py, one at a time."""

from __future__ import annotations

from tests.planting import Plant

_ALONE = (
    "engines/hf/test_shared_states.py::test_rows_that_come_and_go_are_each_computed_as_if_alone[70]"
)

DECODING_PLANTS = [
    Plant(
        "packed layers forget their bias",
        "engines/hf/products.py",
        "self._packed, self.bias, ",
        "self._packed, None, ",
        "engines/hf/test_products.py::test_a_model_says_the_same",
    ),
    Plant(
        "parts of attention are joined without their masses",
        "engines/hf/segments.py",
        "part.output * (part.mass - total).exp()[..., None]",
        "part.output / len(parts)",
        "engines/hf/test_segments.py::test_parts_joined_by_hand",
    ),
    Plant(
        "what pads a prompt is seen",
        "engines/hf/shared_states.py",
        "self.prompt_mask = _hide_beyond(prompt_lengths, dtype)",
        "self.prompt_mask = None",
        _ALONE,
    ),
    Plant(
        "a row that joined late sees what it has not said",
        "engines/hf/shared_states.py",
        "None if even else _hide_beyond(said_lengths + 1, dtype)",
        "None",
        _ALONE,
    ),
    Plant(
        "positions forget the shared beginning",
        "engines/hf/shared_states.py",
        "positions = self._prefix + self._prompt_lengths",
        "positions = self._prompt_lengths",
        _ALONE,
    ),
    Plant(
        "draws see another prompt",
        "engines/hf/shared_states.py",
        "[layout.group, layout.place]\n        mass =",
        "[layout.group.flip(0), layout.place]\n        mass =",
        _ALONE,
    ),
    Plant(
        "room for new tokens is not cleared",
        "engines/hf/shared_states.py",
        "states.new_zeros((len(rows), states",
        "states.new_empty((len(rows), states",
        _ALONE,
    ),
    Plant(
        "padding is attended to in a batch that cannot share",
        "engines/hf/stock_states.py",
        "            mask[at, width - len(prompt) :] = 1\n",
        "            mask[at] = 1\n",
        "engines/hf/test_shared_states.py::test_a_model_that_cannot_share_computes_the_same",
    ),
    Plant(
        "draws share their random numbers with the batch",
        "engines/hf/decoding.py",
        "draw_seed(self._decoding, request.messages, row.draw)",
        "self._decoding.seed + len(self._rows) + row.draw",
        "engines/hf/test_hf.py::test_a_draw_does_not_depend_on_its_neighbours_order_or_batch_size",
    ),
    Plant(
        "a row that joins late goes on with the batch's random numbers",
        "engines/hf/decoding.py",
        "min(len(row.ids), last)",
        "min(max(len(row.ids) for row in self._rows), last)",
        "engines/hf/test_hf.py::test_a_stop_string_ends_a_draw_and_is_not_part_of_its_text",
    ),
    Plant(
        "a batch holds any number of tokens",
        "engines/hf/decoding.py",
        "rows <= self._limits.rows and tokens <= self._limits.tokens",
        "rows <= self._limits.rows",
        "engines/hf/test_decoding.py::test_a_batch_holds_no_more_tokens_than_allowed[98-+2]",
    ),
    Plant(
        "one temperature for all rows",
        "engines/hf/sampling.py",
        "heat = heat.expand(len(logits))",
        "heat = heat.max().expand(len(logits))",
        "engines/hf/test_sampling.py::test_each_row_has_its_own_temperature",
    ),
]

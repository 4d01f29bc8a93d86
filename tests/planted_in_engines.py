"""Bugs of the engines that run elsewhere, to be planted by tests/test_planted_bugs.py."""

from __future__ import annotations

from tests.planting import Plant

ENGINE_PLANTS = [
    Plant(
        "all draws of a prompt get one seed",
        "engines/draws.py",
        "draw_seed(own, request.messages, d)",
        "draw_seed(own, request.messages, 0)",
        "engines/remote/test_openai_api.py::test_the_request_says_everything_that_decides_a_draw",
    ),
    Plant(
        "a request's own temperature is ignored",
        "engines/draws.py",
        "own = decoding_of(request, decoding)",
        "own = decoding",
        "engines/test_contract.py::test_a_request_may_have_a_temperature_of_its_own[openai]",
    ),
    Plant(
        "the end of turn is part of the text",
        "engines/draws.py",
        "strings.cut(ids[:-1] if ended else ids)",
        "strings.cut(ids)",
        "engines/test_contract.py"
        "::test_the_end_of_turn_ends_a_draw_counts_and_is_not_in_the_text[openai]",
    ),
    Plant(
        "the server's own sampling defaults change draws",
        "engines/remote/openai_api.py",
        "            **_NEUTRAL,\n",
        "",
        "engines/remote/test_openai_api.py::test_the_request_says_everything_that_decides_a_draw",
    ),
    Plant(
        "a server of other weights answers for the model",
        "engines/remote/openai_api.py",
        "return card.name == name",
        "return True",
        "engines/remote/test_openai_api.py::test_a_name_that_holds_the_weights_hash_needs_no_shared_folder",
    ),
    Plant(
        "a server's smaller window is overlooked",
        "engines/remote/openai_api.py",
        "min(self._facts.window, found.window)",
        "self._facts.window",
        "engines/remote/test_openai_api.py::test_a_servers_smaller_window_counts",
    ),
    Plant(
        "log-probabilities are read one place too early",
        "engines/remote/openai_api.py",
        "ends = listed[-len(pair.target) :]",
        "ends = listed[-len(pair.target) - 1 :]",
        "engines/test_contract.py::test_scores_equal_a_plain_computation[openai]",
    ),
    Plant(
        "what a lost server had begun is dropped",
        "engines/remote/servers.py",
        "queues[server].appendleft(place)",
        "pass",
        "engines/remote/test_openai_api.py::test_the_work_of_a_lost_server_is_done_by_the_others",
    ),
    Plant(
        "an error message repeats the key",
        "engines/remote/servers.py",
        'reason = reason.replace(self._key, "[secret]")',
        "pass",
        "engines/remote/test_openai_api.py::test_the_key_is_sent_and_never_shown",
    ),
    Plant(
        "a pool drops an engine without stopping its server",
        "engines/pool.py",
        "            close_engine(engine)",
        "            pass",
        "engines/remote/test_serving.py::test_a_pool_stops_one_models_server_before_it_starts_the_nexts",
    ),
    Plant(
        "two models are served at once",
        "engines/pool.py",
        '"openai": 1',
        '"openai": 2',
        "engines/remote/test_serving.py::test_a_pool_stops_one_models_server_before_it_starts_the_nexts",
    ),
    Plant(
        "vLLM takes sampling defaults from the model's folder",
        "engines/vllm.py",
        '"generation_config": "vllm"',
        '"generation_config": "auto"',
        "engines/test_vllm.py::test_the_section_decides_what_vllm_takes",
    ),
]

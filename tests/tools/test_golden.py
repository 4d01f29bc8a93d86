"""What runs must keep: addresses, keys and command options, compared with tests/tools/golden.json.

A difference means that runs made before are no longer current. Where that is intended, say so in
CHANGELOG.md and write the file anew: python -m tests.tools.test_golden RUN_FOLDER
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import typer
import typer.main

from tests.tools import script

golden = script("golden")

EXPECTED = Path(__file__).with_name("golden.json")
COMMANDS = ("training", "evaluation", "reports")


def options() -> dict[str, list[str]]:
    """Return the options and arguments of every command and sub-command."""
    found: dict[str, list[str]] = {}
    apps = {name: importlib.import_module(f"{name}.__main__").app for name in COMMANDS}
    todo: list[tuple[str, Any]] = [(k, typer.main.get_command(app)) for k, app in apps.items()]
    while todo:
        name, command = todo.pop()
        found[name] = sorted(word for p in command.params for word in (*p.opts, *p.secondary_opts))
        todo += [(f"{name} {k}", sub) for k, sub in getattr(command, "commands", {}).items()]
    return found


def kept_of(run: Path) -> dict[str, Any]:
    """Return what golden.json holds, of a run and of the commands as they are now."""
    return {"artifacts": golden.portable(golden.recording(run)), "options": options()}


def expected() -> dict[str, Any]:
    return dict(json.loads(EXPECTED.read_text(encoding="utf-8")))


def test_commands_have_the_options_they_had() -> None:
    assert golden.differences(expected()["options"], options()) == []


def test_a_run_has_the_addresses_keys_and_inputs_it_had(evaluated: Path) -> None:
    found = kept_of(evaluated / "smoke")["artifacts"]
    # Through JSON, because a recording is read from a file: tuples are lists there.
    found = json.loads(json.dumps(found))
    assert golden.differences(expected()["artifacts"], found) == []


def test_a_changed_key_is_found() -> None:
    before = {"artifacts": {"iter1/ift": {"key": {"seed": 1}, "rows": 16}}, "help": {"a": "text"}}
    after = json.loads(json.dumps(before))
    assert golden.differences(before, after) == []
    after["artifacts"]["iter1/ift"]["key"]["seed"] = 2
    del after["help"]["a"]
    assert golden.differences(before, after) == [
        "artifacts > iter1/ift > key > seed: 1 -> 2",
        'help > a: "text" -> null',
    ]


def test_hashes_count_only_where_no_model_took_part() -> None:
    artifact = {
        "key": {"config": {"judge.draws": 3}, "inputs": {"iter1/ranked": "a", "iter1/model": "b"}},
        "facts": {"judge": "M1"},
        "rows": 4,
        "sha256": "c",
    }
    found = golden.portable({"artifacts": {"iter2/judgments": artifact, "iter1/ift": artifact}})
    judgments = {
        "config": {"judge.draws": 3},
        "inputs": {"iter1/ranked": "a", "iter1/model": "model"},
        "facts": ["judge"],
    }
    assert found["iter2/judgments"] == judgments
    assert found["iter1/ift"] == judgments | {"rows": 4, "sha256": "c"}


def write(run: Path) -> None:
    """Write golden.json anew: one line per artifact and per command."""
    parts = []
    for name, values in kept_of(run).items():
        lines = [
            f" {json.dumps(k)}: {json.dumps(values[k], sort_keys=True)}" for k in sorted(values)
        ]
        parts.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    EXPECTED.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

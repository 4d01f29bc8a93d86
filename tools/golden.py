"""Golden run: everything observable about the smoke run, as hashes, before and after a change.

    python tools/golden.py record --out before.json      run configs/smoke.toml, hash what it made
    python tools/golden.py compare before.json after.json
    python tools/golden.py current runs/quickstart       fail if any artifact of a run is stale

A recording holds the content hash and the key of every artifact, scores.json, every file of the
report, and the `--help` text of every command. Versions, dates and durations are fixed before they
are hashed. Weights depend on the CPU, so compare recordings of one machine only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path.cwd()
_VERSION = "golden"
_FINISHED = "2026-01-01T00:00:00Z"
_SHOWN = 160  # characters of a value
_SMOKE = "configs/smoke.toml"
_COMMANDS = ("training", "evaluation", "reports")
_EXACT = ("iter1/ift", "iter1/ranked", "iter1/eft")
# Runs a package's command line with the version of the code fixed: reports print it.
_FIXED = (
    "import sys, core.version; core.version.code_version = lambda: 'golden'; "
    "import runpy; package = sys.argv[1]; sys.argv = sys.argv[1:]; "
    "runpy.run_module(package, run_name='__main__', alter_sys=False)"
)


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    record_ = commands.add_parser("record", help="run the smoke configuration and hash it")
    record_.add_argument("--out", type=Path, required=True, help="JSON file to write")
    record_.add_argument("--keep", type=Path, help="folder to keep the run in")
    compare_ = commands.add_parser("compare", help="list what differs between two recordings")
    compare_.add_argument("before", type=Path)
    compare_.add_argument("after", type=Path)
    current_ = commands.add_parser("current", help="fail if an artifact of a run is stale")
    current_.add_argument("run", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "record":
        return _record(chosen.out, chosen.keep)
    if chosen.command == "compare":
        before, after = (json.loads(p.read_text("utf-8")) for p in (chosen.before, chosen.after))
        found = differences(before, after)
        _say("\n".join(found) or "equal")
        return int(bool(found))
    return _current(chosen.run)


def _record(out: Path, keep: Path | None) -> int:
    folder = keep or Path(tempfile.mkdtemp(prefix="golden-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for package, *rest in (("training",), ("evaluation", "run")):
            _command(package, *rest, "--config", _SMOKE, "--set", f"out_dir={folder}")
        run = folder / "smoke"
        fix(run)
        _command("reports", "build", "--config", _SMOKE, "--set", f"out_dir={folder}")
        found = recording(run) | {"help": helps()}
        out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    finally:
        if keep is None:
            shutil.rmtree(folder)
    return 0


def _command(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-c", _FIXED, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def fix(run: Path) -> None:
    """Fix what differs between two equal runs in their manifests: version, date, duration."""
    for path in run.rglob("*.manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest |= {"code_version": _VERSION, "seconds": 1.0, "finished_at": _FINISHED}
        path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")


def recording(run: Path) -> dict[str, Any]:
    """Return the hashes and keys of a run's artifacts and of its report's files, if it has one."""
    artifacts = {}
    for path in sorted(run.rglob("*.manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        kept = ("sha256", "key", "rows", "counts", "facts", "engine")
        artifacts[manifest["artifact"]] = {name: manifest[name] for name in kept}
    report = {
        path.relative_to(run / "report").as_posix(): _digest(path)
        for path in sorted((run / "report").rglob("*"))
        if path.is_file()
    }
    return {"artifacts": artifacts, "report": report}


# Facts that are only there if a model said something particular.
_BY_CHANCE = {"said_nothing", "adapted"}


def portable(found: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a recording's artifacts that does not depend on the machine.

    That is: each address, the settings and names of inputs in its key, the names of its facts, and
    where no model took part also the hashes of inputs and rows and their number.
    """
    return {
        address: {
            "config": artifact["key"]["config"],
            "inputs": {
                name: digest if _is_exact(name) else "model"
                for name, digest in artifact["key"]["inputs"].items()
            },
            "facts": sorted(set(artifact["facts"]) - _BY_CHANCE),
            **({k: artifact[k] for k in ("rows", "sha256")} if _is_exact(address) else {}),
        }
        for address, artifact in found["artifacts"].items()
    }


def _is_exact(name: str) -> bool:
    """Whether an input is a file, or an artifact computed without floating point."""
    return name in _EXACT or not name.startswith(("iter", "eval/"))


def _digest(path: Path) -> str:
    # A run's folder is a temporary one: its name must not decide.
    text = re.sub(rb"/[^\s\"'<>]*golden-[^/\s\"'<>]*", b"RUNS", path.read_bytes())
    return hashlib.sha256(text).hexdigest()


def helps() -> dict[str, str]:
    """Return the `--help` text of every command and sub-command."""
    found = {}
    todo = [(package,) for package in _COMMANDS]
    while todo:
        words = todo.pop()
        text = _command(*words, "--help")
        found[" ".join(words)] = text
        listed = text.partition("\nCommands:\n")[2]
        todo += [(*words, name) for name in re.findall(r"^  ([a-z-]+)", listed, re.MULTILINE)]
    return found


def differences(before: dict[str, Any], after: dict[str, Any], at: str = "") -> list[str]:
    """Return a line for each value that two recordings do not share."""
    found = []
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{at}{name} > ")
        elif one != other:
            found.append(f"{at}{name}: {_short(one)} -> {_short(other)}")
    return found


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _current(run: Path) -> int:
    """Repeat a run's commands on it: whatever they would make again was stale or missing."""
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    before = recording(run)["artifacts"]
    file = run / "golden-current.toml"
    try:
        file.write_text(_toml(config, run), encoding="utf-8")
        for package, *rest in (("training",), ("evaluation", "run")):
            _command(package, *rest, "--config", str(file))
    finally:
        file.unlink(missing_ok=True)
    found = differences(before, recording(run)["artifacts"])
    _say("\n".join(found) or f"{len(before)} artifacts are current")
    return int(bool(found))


def _toml(config: dict[str, Any], run: Path) -> str:
    """Write a resolved configuration as TOML, for a run that lies where it was moved to."""
    config = config | {"run": run.name, "out_dir": str(run.resolve().parent)}
    return "\n".join(_lines(config, "")) + "\n"


def _lines(section: dict[str, Any], prefix: str) -> list[str]:
    plain = {k: v for k, v in section.items() if not isinstance(v, dict) and v is not None}
    found = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in section.items():
        if isinstance(value, dict):
            found += [f"[{prefix}{key}]", *_lines(value, f"{prefix}{key}.")]
    return found


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""Check what only a GPU can show, on a machine with one NVIDIA GPU and no network.

    python -m tools.check_gpu                        every part, at most eight minutes
    python -m tools.check_gpu --only parity,dpo      some of them
    python -m tools.check_gpu --wheels DIR           use the wheels in DIR before what is installed
    python -m tools.check_gpu --device cpu           try the check itself, without a GPU

It runs on whatever Python it is started with, which must have torch; srlm itself is taken from this
folder. Wheels of missing packages (`pip download --no-deps --dest DIR …`) can be carried along, but
not torch's. Each part runs in a process of its own with a limit of its own (tools/gpu_parts.py).

Exit code 0 if everything that ran is as expected (what was skipped is listed with its reason), 1 if
something is not, 2 without a GPU or if nothing ran.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_ENGINE = ("torch", "transformers", "safetensors", "pydantic", "rich", "filelock")
_LOOP = (*_ENGINE, "trl", "accelerate", "datasets", "typer", "yaml")
_LAST = 400  # characters of a dead part's output


class Part(NamedTuple):
    """A part of the check: what it shows, its limit, and the packages that it imports."""

    shows: str
    limit_s: int
    needs: tuple[str, ...]


PARTS = {
    "parity": Part("the engine gives on the GPU what it gives on the CPU", 90, _ENGINE),
    "dpo": Part("DPO in bf16 is close to fp32, and fp32 to the CPU's", 75, _LOOP),
    "launch": Part("M1 is trained by 'one-gpu'", 75, _LOOP),
    "smoke": Part("M0 to M2 on the GPU", 150, _LOOP),
    "speed": Part("tokens/s beside transformers' generate and forward", 90, _ENGINE),
}


class Row(NamedTuple):
    """One line of the table; `ok` is None for what is measured only, or skipped."""

    part: str
    what: str
    found: str
    wanted: str
    ok: bool | None


def main(words: list[str] | None = None) -> int:
    """Run the check; return its exit code."""
    given = _arguments().parse_args(words)
    if reason := _no_device(given.device):
        sys.stderr.write(reason + "\n")
        return 2
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="check_gpu.") as folder:
        path = [str(ROOT), *_installed(given.wheels, Path(folder) / "packages")]
        for name in given.only:
            began = time.monotonic()
            rows += run_part(name, given.device, Path(folder) / name, path)
            sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    sys.stdout.write(table(rows) + "\n")
    if any(row.ok is False for row in rows):
        return 1
    return 0 if any(row.wanted != "skipped" for row in rows) else 2


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="check_gpu",
        description=(__doc__ or "").partition("\n")[0],
        epilog="Parts: " + "; ".join(f"{name}: {part.shows}" for name, part in PARTS.items()),
    )
    parser.add_argument("--only", type=_names, default=list(PARTS), help="parts, with commas")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to use")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: for trying")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}; parts are {', '.join(PARTS)}")
    return names


def _no_device(device: str) -> str:
    """Return why nothing can be checked here, "" if it can."""
    if importlib.util.find_spec("torch") is None:
        return f"check_gpu: {sys.executable} has no torch; start it with a Python that has."
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return (
            "check_gpu: torch sees no CUDA device here; run it on a machine with an NVIDIA GPU "
            f"and a CUDA build of torch (this one is {torch.__version__})."
        )
    return ""


def _installed(wheels: Path | None, target: Path) -> list[str]:
    """Unpack the wheels into `target`; return what to put on the path."""
    if wheels is None:
        return []
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files:
        raise SystemExit(f"check_gpu: {wheels} holds no wheels")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), *files], check=True)  # noqa: S603 - our words
    return [str(target)]


def run_part(name: str, device: str, folder: Path, path: list[str]) -> list[Row]:
    """Run one part in a process of its own; return its rows, or one that says why not."""
    part = PARTS[name]
    folder.mkdir(parents=True)
    results, log = folder / "rows.jsonl", folder / "log.txt"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "HF_HUB_OFFLINE": "1",
    }
    words = [sys.executable, "-m", "tools.gpu_parts", name, device, str(folder)]
    missing = _missing(part.needs, environment)
    if missing:
        return [Row(name, part.shows, f"not installed: {', '.join(missing)}", "skipped", None)]
    code, ended = _run(words, environment, log, part.limit_s)
    rows = [Row(name, *json.loads(line)) for line in _lines(results)]
    if code:
        tail = " ".join(log.read_text(errors="replace").split())[-_LAST:]
        rows.append(Row(name, part.shows, f"{ended}: {tail}", f"ends in {part.limit_s} s", False))
    return rows


def _run(words: list[str], environment: dict[str, str], log: Path, limit_s: int) -> tuple[int, str]:
    """Run a command and end it after `limit_s`, children included; return its code and how."""
    with (
        log.open("w") as output,
        subprocess.Popen(  # noqa: S603 - our own interpreter and module
            words,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            code = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return 1, "stopped"
        return code, f"exit code {code}"


def _missing(needs: tuple[str, ...], environment: dict[str, str]) -> list[str]:
    """Return the packages that the part's process would not find."""
    code = (
        "import sys, importlib.util as u; print(*[n for n in sys.argv[1:] if not u.find_spec(n)])"
    )
    words = [sys.executable, "-c", code, *needs]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        words, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def table(rows: list[Row]) -> str:
    """Return the rows as aligned text."""
    verdicts = {True: "ok", False: "WRONG", None: ""}
    cells = [("part", "what", "found", "wanted", "")]
    cells += [(*row[:-1], verdicts[row.ok]) for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    widths[2] = min(widths[2], 60)  # the output of a part that died is longer
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


if __name__ == "__main__":
    sys.exit(main())

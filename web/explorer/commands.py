"""The command `explore`: open a run in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.progress import say

Run = Annotated[Path, typer.Option(help="The run's folder, e.g. runs/quickstart.")]
Host = Annotated[
    str, typer.Option(help="Address to serve on; a warning is printed unless it is loopback.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]


def explore(run: Run, host: Host = "127.0.0.1", port: Port = 8765) -> None:
    """Open a run's prompts, judgments, pairs and answers in the browser; read-only."""
    from web.explorer.app import explorer_app
    from web.explorer.source import Source
    from web.kit.serving import address_of, hosts_of, open_port, serve

    with Source(run) as source, open_port(host, port) as opened:
        source.search.start()
        say(f"{source.run.name}: {address_of(opened)}/ (Ctrl-C to stop; the run is not changed)")
        serve(explorer_app(source, hosts=hosts_of(host)), opened)

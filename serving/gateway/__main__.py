"""The command line of the gateway: `python -m serving.gateway`."""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import sys
from pathlib import Path

import uvicorn

from serving.gateway.app import create_app
from serving.gateway.connections import server_options
from serving.gateway.fleet import Fleet
from serving.gateway.observing import configure_logging
from serving.gateway.settings import Settings
from serving.gateway.sources import CHAMPION, FolderSource, RegistrySource, Source, SourceError


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m serving.gateway",
        description="Serve a registered model with a web page. MLFLOW_TRACKING_URI says where the registry is; PAWFLOW_API_KEY, if set, is "
        "what callers must present in the header X-API-Key.",
    )
    parser.add_argument("--model", default="", help="registered model; by default the only one that has a champion")
    parser.add_argument(
        "--model-dir", action="append", default=[], metavar="[ALIAS=]DIR", help="model folder on disk, instead of a registry"
    )
    parser.add_argument("--int8", action="store_true", help="with --model-dir: serve the 8-bit network")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=5002, help="port to listen on; 0 is any free one (%(default)s)")
    parser.add_argument(
        "--flagged", type=Path, metavar="DIR", help="keep photos that people say were misjudged here; by default none are kept"
    )
    parser.add_argument("--threads", type=int, default=0, help="photos computed at once; by default one for each core")
    parser.add_argument("--poll-seconds", type=float, default=10.0, help="time between looks at the registry (%(default)s)")
    arguments = parser.parse_args()
    if not 0 <= arguments.port <= 65535:
        parser.error(f"argument --port: {arguments.port} is no port; expected 0 to 65535")
    return arguments


def _open_source(arguments: argparse.Namespace) -> Source:
    if not arguments.model_dir:
        if arguments.int8:
            raise SourceError("--int8 goes with --model-dir; a registered version says itself which network serves")
        return RegistrySource(arguments.model)
    named = [text.partition("=") if "=" in text else (CHAMPION, "=", text) for text in arguments.model_dir]
    return FolderSource({alias: Path(folder) for alias, _, folder in named}, int8=arguments.int8)


def _tune_memory() -> None:
    """Have large blocks go back to the system once freed, which glibc would keep for each thread; those of an ordinary photo stay."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX of malloc.h. Setting the first would otherwise leave the second at 128 kB, and
        # every photo would have the system clear its pages anew; and there would be up to eight arenas a core, each with leftovers.
        for parameter, value in ((-3, 8_000_000), (-1, 16_000_000), (-8, 2)):
            libc.mallopt(parameter, value)


def main() -> None:
    """Serve until stopped; exit code 2 and a sentence if there is nothing to serve."""
    arguments = _parse()
    _tune_memory()
    configure_logging()
    try:
        source = _open_source(arguments)
    except SourceError as error:
        print(f"error: {error.explain()}", file=sys.stderr)
        sys.exit(2)
    settings = Settings(
        api_key=os.environ.get("PAWFLOW_API_KEY", ""),
        flagged=arguments.flagged,
        poll_seconds=arguments.poll_seconds,
        num_threads=arguments.threads,
    )
    uvicorn.run(
        create_app(Fleet(source), settings),
        host=arguments.host,
        port=arguments.port,
        timeout_graceful_shutdown=30,
        **server_options(settings),
    )


if __name__ == "__main__":
    main()

"""A program that ends when whoever started it does, however that ended: `python leash.py [--user NAME | --hold] COMMAND...`.

In: a command, and as standard input a pipe whose other end only the starter holds. The system closes that end also when the starter is
killed with SIGKILL, which nothing else could react to; then the command and all that it has started are asked to end, and else killed.
Out: the command's exit code. Needs nothing but Python, and stays in the process group that it was started in, together with the command.
With `--hold` it takes the starter's place and needs no pipe, see `hold`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

_SECONDS_TO_END = 15.0
_HOLD = "--hold"


def start(command: list[str], *, user: str | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command on a leash, in a session of its own: signals for its process group reach all its descendants.

    Args:
        command: What to run.
        user: As whom; by default as this process.
        options: Of `subprocess.Popen`: environment, folder, output.
    """
    holder = [sys.executable, "-I", "-S", __file__, *(["--user", user] if user else [])]
    return subprocess.Popen([*holder, *command], stdin=subprocess.PIPE, start_new_session=True, **options)


def hold(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Become a small process that runs a command, and ends it and all its descendants when it is ended.

    For servers that answer Ctrl-C with a stack trace: they are told by SIGTERM, and by SIGKILL if a second signal comes. The exit code is
    then 0, and the command's own otherwise.
    """
    os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, _HOLD, *command], environment)


def _hold(command: list[str]) -> int:
    held, num_signals = start(command), 0

    def end(*_: object) -> None:
        nonlocal num_signals
        num_signals += 1
        with suppress(ProcessLookupError):
            os.killpg(held.pid, signal.SIGTERM if num_signals == 1 else signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    code = held.wait()
    # What the command had started may take longer, and whoever comes next may want its port.
    deadline = time.monotonic() + _SECONDS_TO_END
    with suppress(ProcessLookupError):
        if not num_signals:
            # The command ended by itself, so nobody told them.
            os.killpg(held.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.killpg(held.pid, 0)
            time.sleep(0.05)
        os.killpg(held.pid, signal.SIGKILL)
    return 0 if num_signals else code


def main() -> int:
    """Hold the command until it ends or the pipe does."""
    arguments = sys.argv[1:]
    if arguments[0] == _HOLD:
        return _hold(arguments[1:])
    user = arguments[1] if arguments[0] == "--user" else None
    # Handled rather than ignored, because a command would inherit that. They come to the whole group, so the command has them too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    command = subprocess.Popen(arguments[2:] if user else arguments, stdin=subprocess.DEVNULL, user=user)
    ending = threading.Event()
    watcher = threading.Thread(target=_end_with_starter, args=(command, ending), daemon=True)
    watcher.start()
    code = command.wait()
    if ending.is_set():
        # The command has ended as it was asked to; what it had started may not have.
        watcher.join()
    return code


def _end_with_starter(command: subprocess.Popen[bytes], ending: threading.Event) -> None:
    # Read from the descriptor itself: a buffered reader would be locked at this process's own end.
    while os.read(0, 4096):
        pass
    ending.set()
    os.killpg(0, signal.SIGTERM)
    try:
        command.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        pass
    finally:
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

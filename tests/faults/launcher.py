"""``python -m tests.faults.launcher FOLDER NAME PROGRAM …``: runs a program of the engine with a sentry at every point.

PROGRAM is what Python itself would be given, a file or ``-m`` and a module, with a ``main`` that takes the arguments. FOLDER
holds the orders (arming.py). The program runs in a child. When that has died of its orders the next one starts at once, as
a supervisor would see to, and in a moment, since all that it imports is loaded here already: of the seconds that
a start takes, a campaign of hundreds of crashes would spend most of its time. The launcher itself opens nothing.
"""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.arming import Post, Sentry
from tests.faults.points import attached

STOPS = (signal.SIGTERM, signal.SIGINT)


def inside(folder: Path, name: str) -> Sequence[str]:
    """For EngineConfig: the words that run a process under its sentry."""
    return ("-m", "tests.faults.launcher", str(folder), name)


def main(arguments: Sequence[str]) -> int:
    folder, name, *program = arguments
    post = Post(Path(folder), name)
    run, words = _program(program)
    gc.freeze()
    while True:
        pid = os.fork()
        if pid == 0:
            return _live(post, run, words)
        status = _wait_for(pid)
        if status != -signal.SIGKILL or not post.obeyed.exists() or int(post.obeyed.read_text()) != pid:
            return abs(status)


def _program(words: Sequence[str]) -> tuple[Callable[[Sequence[str]], int], Sequence[str]]:
    of_module = words[0] == "-m"
    module: Any = importlib.import_module(words[1] if of_module else Path(words[0]).stem)
    return module.main, words[2:] if of_module else words[1:]


def _live(post: Post, run: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
    for stop in STOPS:
        signal.signal(stop, signal.SIG_DFL)
    with attached(Sentry(post).reached):
        return run(words)


def _wait_for(pid: int) -> int:
    """The child's exit code, or minus the signal that it died of. It is told to stop when we are."""
    for stop in STOPS:
        signal.signal(stop, lambda number, _: os.kill(pid, number))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

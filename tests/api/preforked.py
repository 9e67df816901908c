"""``python -m tests.api.preforked``: starts the API as often as it is told to, each time in a new process and in a moment.

A line of standard input is the API's arguments; the answers are the pid of the process, and ``over`` when it has ended. All that
the API imports is loaded here already, and nothing is opened, so a test that kills it many times need not wait for seconds each time.
"""

import gc
import os
import sys

from api.app import main as serve


def main() -> int:
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return serve(line.split())
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        os.waitpid(pid, 0)
        sys.stdout.write("over\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

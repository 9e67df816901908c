"""A keeper for one service process: it stops the service when whoever started it is gone, however that ended.

Started as `python -I -S guard.py SPEC` with the standard library alone, because it must be up within milliseconds. It
reads end of file on its lifeline, a pipe whose other end only the starter holds, as "stop now": closing the pipe is how
a service is stopped, and the kernel closes it when the starter is killed with -9. A parent-death signal on the service
itself would not do: Linux sends it when the *thread* that forked ends, and it cannot stop a service gently. It is used
one step further down, for the case that this keeper is killed; the keeper's only thread lives as long as it does.

The keeper adopts what the service leaves behind (PostgreSQL's backends after a crash of the postmaster), so that its
own end means that nothing is left.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER = 1, 8, 28, 36
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522
NOTED_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPPED_WITHOUT_TRACE = 70


def prctl(option: int, *arguments: int) -> bool:
    """One Linux process control; false where it is refused or the system has none."""
    if sys.platform != "linux":
        return False
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    refused: int = ctypes.CDLL(None).prctl(option, *values)
    return refused == 0


def keep_search_right() -> None:
    """Let the account we became walk the folders above the programs and the data, and nothing more if that is enough.

    Root's virtual environment or pytest's folders may be closed to others (mode 0700). Opening them to everyone, the
    usual way out, would outlast us; this right ends with the process. Containers often withhold the reading right but
    have the overriding one.
    """
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        mask = 1 << capability
        if libc.capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)) == 0:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)
            return


def become(uid: int, gid: int) -> None:
    """Leave root for the given account: PostgreSQL refuses to run as root."""
    os.setgroups([])
    os.setgid(gid)
    prctl(PR_SET_KEEPCAPS, 1)
    # Without this bit access(2), with which PostgreSQL looks for its own programs, sets aside the right kept below.
    prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setuid(uid)
    if sys.platform == "linux":
        keep_search_right()


def run_service(spec: dict[str, Any], keeper: int) -> None:
    """The child's half after the fork; returns only when the program could not be started."""
    os.setsid()  # Ctrl-C in a terminal must not reach the services: the order of stopping is ours
    if spec["account"] is not None:
        become(*spec["account"])
    prctl(PR_SET_PDEATHSIG, spec["stops"][0][0])  # after become(), which clears it
    if os.getppid() != keeper:
        return
    os.chdir(spec["folder"])
    try:
        os.execv(spec["argv"][0], spec["argv"])  # noqa: S606  # no shell is wanted
    except OSError as error:
        print(f"cannot run {spec['argv'][0]}: {error}", file=sys.stderr, flush=True)


def orphans() -> list[int]:
    """Processes of the service that outlived it and now belong to this keeper."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in listing.read_text().split()] if listing.exists() else []


class Keeper:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.exit_code: int | None = None
        self.wake, wake_writer = os.pipe()
        for end in (self.wake, wake_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        for number in NOTED_SIGNALS:
            signal.signal(number, self.note)
        self.told_to_stop = False
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        os.set_inheritable(spec["lifeline"], False)
        self.service = self.fork_service()

    def fork_service(self) -> int:
        # Signals wait during the fork: one that found our handlers still in the child would be lost to the service.
        signal.pthread_sigmask(signal.SIG_BLOCK, NOTED_SIGNALS)
        keeper = os.getpid()
        service = os.fork()
        if service == 0:
            signal.set_wakeup_fd(-1)
            for number in NOTED_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NOTED_SIGNALS)
        if service == 0:
            run_service(self.spec, keeper)
            os._exit(127)
        return service

    def note(self, number: int, _frame: object) -> None:
        self.told_to_stop = self.told_to_stop or number != signal.SIGCHLD

    def reap(self) -> None:
        """Collect whatever has ended, and remember how the service did."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if self.exit_code is None:
                    self.exit_code = STOPPED_WITHOUT_TRACE
                return
            if pid == 0:
                return
            if pid == self.service:
                self.exit_code = os.waitstatus_to_exitcode(status)

    def wait(self, sources: list[int], seconds: int | None) -> bool:
        """Until the service has ended (true), or a source speaks, a stop signal came, or time is up (false)."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            self.reap()
            if self.exit_code is not None:
                return True
            left = None if deadline is None else max(0, deadline - time.monotonic())
            ready, _, _ = select.select([self.wake, *sources], [], [], left)
            if self.wake in ready:
                os.read(self.wake, 512)
            elif left is not None or ready:
                return False
            if self.told_to_stop and sources:
                return False

    def stop(self) -> None:
        """Ask gently first, then harder, each request with its time to take effect."""
        for number, seconds in [*self.spec["stops"], (signal.SIGKILL, 5)]:
            os.kill(self.service, signal.SIGCONT)  # one that is frozen could not answer
            os.kill(self.service, number)
            if self.wait([], seconds):
                return

    def clear(self) -> None:
        """Give what the service left behind a moment to end by itself, then end it."""
        deadline = time.monotonic() + self.spec["orphans_seconds"]
        while (left := orphans()) and time.monotonic() < deadline:
            time.sleep(0.01)
            self.reap()
        for pid in left:
            os.kill(pid, signal.SIGKILL)

    def run(self) -> int:
        if not self.wait([self.spec["lifeline"]], None):
            self.stop()
        self.clear()
        code = STOPPED_WITHOUT_TRACE if self.exit_code is None else self.exit_code
        return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(Keeper(json.loads(sys.argv[1])).run())

"""Child processes that die with their parent."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` after which the kernel kills the child when the thread that started it ends; None where the system
    cannot do that (it is Linux's).
    """
    if sys.platform != "linux":
        return None
    # All looked up before the fork: the child of a fork may only make plain system calls.
    prctl, getppid, exit_now = ctypes.CDLL(None, use_errno=True).prctl, os.getppid, os._exit
    parent, wanted = os.getpid(), int(signal.SIGKILL)

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, wanted, 0, 0, 0)
        if getppid() != parent:  # it died before the call: nobody will send the signal
            exit_now(1)

    return ask_kernel

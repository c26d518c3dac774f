"""The first process of a container inherits every process that loses its parent, and must collect it when it ends, or
the container fills with the dead. An agent has other work: it becomes the child of one that does only this.
"""

import os
import signal

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def fork_behind_init() -> None:
    """Returns in a new child process, where the agent lives. The caller stays behind: it passes signals on, collects
    whoever ends, and ends as the agent ends.
    """
    heeded = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heeded)
    agent = os.fork()
    if agent == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        number = signal.sigwait(heeded)
        if number != signal.SIGCHLD:
            os.kill(agent, number)
        elif (code := _collect(agent)) is not None:
            os._exit(code)


def _collect(agent: int) -> int | None:
    """All that have ended; the agent's exit code once it is among them, 128 + n where a signal killed it."""
    found = None
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == agent:
                code = os.waitstatus_to_exitcode(ended[1])
                found = code if code >= 0 else 128 - code
    except ChildProcessError:  # nobody is left
        pass
    return found

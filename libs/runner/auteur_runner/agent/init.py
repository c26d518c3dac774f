"""The init of a worker's container: process 1 inherits every process that loses its parent, and has to reap it, or
zombies fill the container's process table. The agent has other work, so it becomes the child of a process that does
only this."""

import os
import signal

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def fork_behind_init() -> None:
    """Returns in a new child process, which becomes the agent. The caller stays as the init: it forwards signals, reaps
    processes, and exits as the agent exits.
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
    """Reaps all that have ended. Returns the agent's exit code once it is among them, 128 + n where a signal killed
    it."""
    found = None
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == agent:
                code = os.waitstatus_to_exitcode(ended[1])
                found = code if code >= 0 else 128 - code
    except ChildProcessError:  # nobody is left
        pass
    return found

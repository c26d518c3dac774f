"""The exit codes of the `auteur` command, which scripts can trust. Light: imported before anything else."""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    JOB_FAILED = 1
    """The command worked; the job it was about failed."""
    REFUSED = 2
    """Wrong usage, or the server understood the request and refused it."""
    CANCELLED = 3
    """The job it was about was cancelled."""
    NOT_FOUND = 4
    UNREACHABLE = 5
    """The server cannot be reached or cannot answer now."""
    TIMEOUT = 6
    """`--timeout` passed before the job finished."""
    INTERRUPTED = 130
    """Ctrl-C."""

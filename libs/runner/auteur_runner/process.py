"""The agent's side of one child process: starts it, exchanges messages, reads what it prints, kills it with all it
started."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from auteur_contracts.resources import Failure, Tier
from auteur_contracts.vocabulary import Fault, Reason
from auteur_kit.private import for_strangers
from auteur_runner import protocol
from auteur_runner.log_limiter import LogLimiter, dropped_line

CANCEL_GRACE = 2.0
_PIPE_GRACE = 0.5
"""How long after a death the pipes are still read: a grandchild may hold them open."""
_MAX_LINE = 4096
_TAIL = 20

OnLog = Callable[[protocol.Log], None]


class ChildDied(Exception):
    """The process ended by itself: a crash, a kill from outside, `os._exit`."""

    def __init__(self, returncode: int, log_tail: tuple[str, ...]) -> None:
        self.returncode = returncode
        self.log_tail = log_tail
        super().__init__(f"the function's process {how_it_ended(returncode)}")

    def failure(self, during: str = "the run") -> Failure:
        remedy = "SIGKILL is often the system running out of memory." if self.returncode == -signal.SIGKILL else ""
        return Failure(
            fault=Fault.FUNCTION,
            reason=Reason.FUNCTION_FAILED,
            message=f"The function's process {how_it_ended(self.returncode)} during {during}.",
            remedy=remedy,
            log_tail=self.log_tail,
            recycle=True,
        )


class SetupFailed(Exception):
    """The target cannot be loaded, or its `setup` raised."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


@dataclass(frozen=True)
class Launch:
    """How a child is started."""

    python: str
    target: str
    directory: Path | None = None
    """Where a target that is not installed lies."""
    environment: tuple[tuple[str, str], ...] = ()

    def argv(self, descriptor: int) -> list[str]:
        own = [self.python, "-m", "auteur_runner", "child", self.target]
        return [*own, "--fd", str(descriptor), "--parent", str(os.getpid())]


@dataclass
class _Log:
    """What the child prints and logs: the last lines for failures, a bounded number of them for listeners."""

    listener: OnLog
    log_limiter: LogLimiter = field(default_factory=LogLimiter)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))

    def add(self, message: protocol.Log) -> None:
        if message.stream != "log" or message.level in ("warning", "error"):
            self.tail.append(message.line[:512])
        self.log_limiter, passes, dropped = self.log_limiter.offer(time.monotonic())
        if dropped:
            self.listener(protocol.Log(level="warning", line=dropped_line(dropped)))
        if passes:
            self.listener(message)

    def end_run(self) -> None:
        """A run ended: report lines that were dropped and not reported yet."""
        if self.log_limiter.dropped:
            self.listener(protocol.Log(level="warning", line=dropped_line(self.log_limiter.dropped)))
        self.log_limiter = LogLimiter(window=self.log_limiter.window, passed=self.log_limiter.passed)


class _Pipe(asyncio.Protocol):
    """stdout or stderr: always drained, whatever the author prints, so that a full pipe never holds up a cancel."""

    def __init__(self, stream: Literal["stdout", "stderr"], log: _Log) -> None:
        self._stream = stream
        self._log = log
        self._rest = b""
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._say(line)
        if len(self._rest) > _MAX_LINE:
            self._say(self._rest)
            self._rest = b""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        if self._rest:
            self._say(self._rest)
        self._rest = b""
        if not self.closed.done():
            self.closed.set_result(None)

    def _say(self, line: bytes) -> None:
        text = line[:_MAX_LINE].decode(errors="replace").rstrip("\r")
        if text:
            self._log.add(protocol.Log(stream=self._stream, line=text))


class ChildProcess:
    """One child. It runs one job at a time, and ends when `close` or `kill` is called or when it dies."""

    def __init__(self, popen: subprocess.Popen[bytes], log: _Log) -> None:
        self._popen = popen
        self._log = log
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None
        self._pipes: list[_Pipe] = []
        self._transports: list[asyncio.ReadTransport] = []
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._killing: asyncio.TimerHandle | None = None
        self._busy = False
        self._forced = False
        self.hello: protocol.Hello
        self.tier: Tier | None = None
        """What it is set up for."""

    @classmethod
    async def spawn(cls, launch: Launch, on_log: OnLog, hello_seconds: float = 120) -> "ChildProcess":
        """Start a child and hear its hello. Raises SetupFailed when its target cannot be loaded."""
        ours, theirs = socket.socketpair()
        try:
            popen = subprocess.Popen(  # noqa: ASYNC220 -- fork and exec take a millisecond; the wait is in a thread
                launch.argv(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=launch.directory,
                env=_environment(launch),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise SetupFailed(_platform_failure(f"{launch.python} cannot be started: {error}")) from error
        finally:
            theirs.close()
        child = cls(popen, _Log(on_log))
        child._watch()
        try:
            await child._connect(ours)
            async with asyncio.timeout(hello_seconds):
                await child._handshake()
        except TimeoutError as error:
            await child.kill()
            raise SetupFailed(_platform_failure(f"{launch.target} did not load in {hello_seconds:.0f} s")) from error
        except BaseException:
            await child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return not self._exited.done()

    @property
    def log_tail(self) -> tuple[str, ...]:
        return tuple(self._log.tail)

    async def set_up(self, tier: Tier) -> AsyncGenerator[protocol.Event, None]:
        """Load the tier's pipeline; yields progress and log. Raises SetupFailed or ChildDied."""
        self.tier = None
        self._busy = True
        self._send(protocol.Setup(tier=tier))
        try:
            while True:
                match await self._receive():
                    case protocol.Ready():
                        self.tier = tier
                        return
                    case protocol.SetupFailed(failure=failure):
                        raise SetupFailed(failure)
                    case protocol.Log() as line:
                        self._log.add(line)
                    case protocol.Progressed() as event:
                        yield event
        finally:
            self._mark_idle()

    async def run(self, order: protocol.Run) -> AsyncGenerator[protocol.Event | protocol.Ending, None]:
        """Run a job; the last item is its ending. Raises ChildDied, unless the death was our own forced cancel."""
        self._log.tail.clear()
        self._busy = True
        self._send(order)
        try:
            while True:
                match await self._receive():
                    case protocol.Log() as line:
                        self._log.add(line)
                    case protocol.Failed(failure=failure):
                        await self._read_pipes_to_now()  # what it printed belongs to the failure
                        tail = failure.log_tail or self.log_tail
                        yield protocol.Failed(failure=failure.model_copy(update={"log_tail": tail}))
                        return
                    case protocol.Succeeded() | protocol.Cancelled() as ending:
                        await self._read_pipes_to_now()
                        yield ending
                        return
                    case protocol.Hello() | protocol.Ready() | protocol.SetupFailed():
                        continue
                    case event:
                        yield event
        except ChildDied:
            if not self._forced:
                raise
            yield protocol.Cancelled(forced=True)
        finally:
            self._mark_idle()
            self._log.end_run()

    def cancel(self, uid: str, attempt: int, grace: float = CANCEL_GRACE) -> None:
        """Ask the running job to stop; after `grace` seconds its process group is killed."""
        if not self.alive or not self._busy:
            return
        self._send(protocol.Cancel(uid=uid, attempt=attempt))
        if self._killing is None:
            self._killing = asyncio.get_running_loop().call_later(grace, self._kill_after_grace)

    async def kill(self) -> None:
        """SIGKILL for the whole group, and wait until it is gone."""
        self._kill_group()
        await asyncio.shield(self._exited)
        self._close_streams()

    async def close(self, grace: float = CANCEL_GRACE) -> None:
        """Let it exit; kill it when it does not."""
        if self.alive:
            self._send(protocol.Exit())
            await asyncio.wait({self._exited}, timeout=grace)
        await self.kill()

    # messages

    async def _connect(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._reader, self._writer = await asyncio.open_connection(sock=connection)
        loop = asyncio.get_running_loop()
        for stream, file in (("stdout", self._popen.stdout), ("stderr", self._popen.stderr)):
            transport, pipe = await loop.connect_read_pipe(lambda stream=stream: _Pipe(stream, self._log), file)  # type: ignore[misc]
            self._transports.append(transport)
            self._pipes.append(pipe)

    async def _handshake(self) -> None:
        match await self._receive():
            case protocol.Hello(protocol=protocol.PROTOCOL) as hello:
                self.hello = hello
            case protocol.Hello() as hello:
                raise SetupFailed(
                    _platform_failure(
                        f"the runner speaks protocol {hello.protocol} (auteur {hello.sdk}), this agent speaks "
                        f"{protocol.PROTOCOL}; install the same version of auteur in both environments"
                    )
                )
            case protocol.SetupFailed(failure=failure):
                raise SetupFailed(failure)
            case other:
                raise SetupFailed(_platform_failure(f"the runner said {other.type!r} before its hello"))

    def _send(self, message: protocol.Down) -> None:
        """Never blocks: messages to the child are small, and a child that does not read them is killed after the grace
        period."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(protocol.encode(message))

    async def _receive(self) -> protocol.Up:
        try:
            header = await self._reader.readexactly(protocol.HEADER)
            return protocol.decode_up(await self._reader.readexactly(protocol.body_length(header)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (protocol.FrameTooLarge, ValueError) as error:  # no valid message: nothing after it can be trusted
            self._log.add(protocol.Log(stream="stderr", level="error", line=f"unreadable message: {error}"))
        # The socket is closed. A child that lives on without it is of no use.
        await asyncio.wait({self._exited}, timeout=_PIPE_GRACE)
        self._kill_group()
        returncode = await asyncio.shield(self._exited)
        await self._read_pipes_to_now()
        raise ChildDied(returncode, self.log_tail)

    async def _read_pipes_to_now(self) -> None:
        """Lines that were printed before a message may arrive after it, since pipes and socket are read
        independently."""
        if self.alive:
            for _ in range(3):  # it was in the pipe before: a round or two of the loop read it
                await asyncio.sleep(0)
            return
        if self._pipes:
            await asyncio.wait({pipe.closed for pipe in self._pipes}, timeout=_PIPE_GRACE)

    # exit

    def _watch(self) -> None:
        """Waits in a thread of its own: asyncio's wait also waits for pipes that a grandchild may hold open."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._wait, args=(loop,), name=f"auteur-wait-{self.pid}", daemon=True).start()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._kill_group()  # what it started; before it is reaped, its number cannot be another process's
        returncode = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._on_exit, returncode)

    def _on_exit(self, returncode: int) -> None:
        if not self._exited.done():
            self._exited.set_result(returncode)
        # A grandchild may hold the socket: end the read after what is in it was read.
        asyncio.get_running_loop().call_later(_PIPE_GRACE / 5, self._reader.feed_eof)

    def _mark_idle(self) -> None:
        """Nothing runs any more, so nothing is to be killed after the grace period."""
        self._busy = False
        if self._killing is not None:
            self._killing.cancel()
            self._killing = None

    def _kill_after_grace(self) -> None:
        self._forced = True
        self._kill_group()

    def _kill_group(self) -> None:
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _close_streams(self) -> None:
        if self._writer is not None:
            self._writer.close()
        for transport in self._transports:
            transport.close()


def _environment(launch: Launch) -> dict[str, str]:
    """The agent's own environment without what no author's code may have: access to NATS, store and databases,
    tokens."""
    return {**for_strangers(os.environ), **dict(launch.environment), "PYTHONUNBUFFERED": "1"}


def _platform_failure(message: str) -> Failure:
    return Failure(fault=Fault.PLATFORM, reason=Reason.PLATFORM_FAILED, message=message[:2048], recycle=True)

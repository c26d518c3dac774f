"""The function's own process. One thread reads the agent's messages, the main thread sets up and runs."""

import contextlib
import ctypes
import faulthandler
import gc
import os
import platform
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from auteur_contracts.resources import Tier
from auteur_runner import protocol
from auteur_runner.context import SetupContext
from auteur_runner.describe import describe
from auteur_runner.errors import failure_of
from auteur_runner.execute import execute
from auteur_runner.function import Function, Runner
from auteur_runner.loading import load

_PR_SET_PDEATHSIG = 1


def main(target: str, descriptor: int, parent: int) -> None:
    die_with(parent)
    faulthandler.enable()  # a crash in native code leaves its stack in the log
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # pipes, as the agent makes them
    channel = _Channel(socket.socket(fileno=descriptor))
    try:
        runner = load(target)
        hello = protocol.Hello(sdk=sdk_version(), python=platform.python_version(), runner=describe(runner))
    except BaseException as error:  # noqa: BLE001 -- the author's module may raise anything
        channel.send(protocol.SetupFailed(failure=failure_of(error)))
        return
    channel.send(hello)
    channel.listen()
    _serve(_Functions(runner, channel.send), channel)


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when the agent's main thread ends: a killed agent must not leave a model on
    the GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(0)


def sdk_version() -> str:
    try:
        return version("auteur")
    except PackageNotFoundError:
        return "unknown"


class _Channel:
    """The socket: sends from any thread, receives in one."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._stream = connection.makefile("rb")
        self._sending = threading.Lock()
        self._newest: tuple[str, int] = ("", 0)
        self._cancelled = threading.Event()
        self.inbox: queue.SimpleQueue[tuple[protocol.Setup | protocol.Run, threading.Event]] = queue.SimpleQueue()

    def send(self, message: protocol.Up) -> None:
        frame = protocol.encode(message)
        with self._sending:
            self._socket.sendall(frame)

    def listen(self) -> None:
        threading.Thread(target=self._read_until_closed, name="auteur-reader", daemon=True).start()

    def _read_until_closed(self) -> None:
        try:
            self._read()
        finally:
            _exit_with_group()

    def _read(self) -> None:
        while header := self._stream.read(protocol.HEADER):
            match protocol.decode_down(self._stream.read(protocol.body_length(header))):
                case protocol.Run() as order:
                    self._newest = (order.uid, order.attempt)
                    self._cancelled = threading.Event()
                    self.inbox.put((order, self._cancelled))
                case protocol.Setup() as setup:
                    self.inbox.put((setup, threading.Event()))
                case protocol.Cancel(uid=uid, attempt=attempt):
                    # Only the job that is running: a late cancel of the one before must not hit this one.
                    if (uid, attempt) == self._newest:
                        self._cancelled.set()
                case protocol.Exit():
                    return


def _exit_with_group() -> None:
    """Exit, or the agent is gone. Take everything the author started along; nothing here is worth a clean end."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


class _Functions:
    """The functions of the runner, as they are set up now."""

    def __init__(self, runner: Runner, send: Callable[[protocol.Up], None]) -> None:
        self._runner = runner
        self._send = send
        self._functions: dict[str, Function] = {}

    def set_up(self, tier: Tier) -> protocol.Up:
        self._functions = {}
        gc.collect()  # the pipeline before must be gone before the next is loaded: both may not fit
        ctx = SetupContext(self._send, lambda: False, tier)
        try:
            shared = self._runner.setup(ctx) if self._runner.setup else None
            functions = {}
            for kind in self._runner.functions:
                function = functions[kind.name] = kind()
                function.shared = shared
                function.setup(ctx)
        except BaseException as error:  # noqa: BLE001 -- the author's code may raise anything
            return protocol.SetupFailed(failure=failure_of(error))
        self._functions = functions
        return protocol.Ready()

    def run(self, order: protocol.Run, cancelled: threading.Event) -> protocol.Up:
        function = self._functions.get(order.function)
        if function is None:
            served = ", ".join(kind.name for kind in self._runner.functions)
            error = LookupError(f'this runner does not serve "{order.function}"; it serves {served}')
            return protocol.Failed(failure=failure_of(error))
        return execute(function, order, self._send, cancelled.is_set)


def _serve(functions: _Functions, channel: _Channel) -> None:
    while True:
        message, cancelled = channel.inbox.get()
        match message:
            case protocol.Setup(tier=tier):
                channel.send(functions.set_up(tier))
            case protocol.Run() as order:
                channel.send(functions.run(order, cancelled))

"""The data folder of one machine: what lies where in it. Built from one root, nowhere else."""

from dataclasses import dataclass
from pathlib import Path

from auteur_client.home import ADDRESS_FILE, data_dir


@dataclass(frozen=True)
class Layout:
    root: Path

    @property
    def config(self) -> Path:
        """Generated secrets and ports; for the owner's eyes only."""
        return self.root / "config.json"

    @property
    def address(self) -> Path:
        """A file of one line, the URL of the running stack; it is absent while the stack does not run."""
        return self.root / ADDRESS_FILE

    @property
    def nats(self) -> Path:
        return self.root / "nats"

    @property
    def store(self) -> Path:
        return self.root / "s3"

    @property
    def store_certificates(self) -> Path:
        return self.root / "s3-tls"

    @property
    def gateway_database(self) -> Path:
        return self.root / "gateway.db"

    @property
    def engine_database(self) -> Path:
        return self.root / "engine.db"

    @property
    def runners(self) -> Path:
        return self.root / "runners"

    @property
    def environments(self) -> Path:
        """Python environments of runners, one folder each."""
        return self.root / "envs"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """What is true of the running stack only: process ids, its lock, its state."""
        return self.root / "run"

    @property
    def scratch(self) -> Path:
        """Where attempts keep their files until they are uploaded."""
        return self.run / "scratch"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    @property
    def state(self) -> Path:
        return self.run / "state.json"

    def nats_config(self) -> Path:
        return self.run / "nats.conf"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def process(self, part: str) -> Path:
        return self.run / f"{part}.pid"

    def runner(self, name: str) -> Path:
        return self.runners / f"{name}.json"

    def make(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        # Other users of the machine have no business in secrets, prompts and media.
        self.root.chmod(0o700)
        for folder in (self.nats, self.store, self.runners, self.logs, self.run, self.scratch):
            folder.mkdir(exist_ok=True)


def here() -> Layout:
    """The layout that this process's environment and working directory name."""
    return Layout(data_dir())

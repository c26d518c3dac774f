"""Images for clusters without a way outside: built by buildah on bases that are made here, named by what they hold, so
that nothing is built, pushed or pulled twice.
"""

import ast
import fcntl
import hashlib
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.registry import Registry

_CHECKOUT = Path(__file__).parents[3]
_BASES = _CHECKOUT / "images" / "base"
_MINUTES = 60.0


class BuildFailed(Exception):
    """An image could not be built; the text is the end of what the builder wrote."""


@dataclass(frozen=True)
class Image:
    """An image in the builder's store."""

    name: str
    """As in a reference, without host and tag: `auteur/gateway`."""
    id: str

    @property
    def tag(self) -> str:
        """Says what is in it: a pod that names it never runs an older build."""
        return self.id[:12]


def state_folder() -> Path:
    """Where what is expensive stays between runs. All of it can be deleted while nothing runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "auteur" / "node"


@dataclass(frozen=True)
class ImageStore:
    """Builds images and keeps them in `folder`."""

    folder: Path

    def base(self, variant: str = "python3") -> Image:
        """One of the variants of images/base/make."""
        key = _digest(path.read_bytes() for path in sorted(_BASES.iterdir()) if path.is_file())
        made = self.folder / "base" / f"{variant}-{key[:12]}"
        with _locked(self.folder / "base.lock"):
            if not (made / "Dockerfile").exists():  # it is written last
                _run((_BASES / "make", variant, made), 20 * _MINUTES)
        return self.build(f"auteur-base/{variant}", made, build_args={})

    def build(
        self,
        name: str,
        context: Path,
        *,
        dockerfile: Path | None = None,
        build_args: Mapping[str, str] | None = None,
        target: str = "",
        seconds: float = 30 * _MINUTES,
    ) -> Image:
        """An image of `dockerfile` (the context's own, unless given). What counts as a change is what the file copies
        from `context`, without what git ignores there. Where `build_args` are not given, the bases are ours: BASE_IMAGE
        and BUILD_IMAGE (the same with pip).
        """
        file = dockerfile or context / "Dockerfile"
        said, hidden = file.read_text(), context / ".dockerignore"
        arguments = self.bases() if build_args is None else build_args
        told = (said, hidden.read_text() if hidden.exists() else "", sorted(arguments.items()), target)
        note = (
            self.folder / "built" / _digest([json.dumps(told).encode(), *_content(context, _copied(said, arguments))])
        )
        if note.exists() and self._exists(note.read_text()):
            return Image(name, note.read_text())
        image = Image(name, self._bud(file, context, arguments, target, seconds))
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(image.id)
        return image

    def push(self, image: Image, registry: Registry) -> str:
        """The image's reference for pods. Squeezed the cheap way: torch's layer would take minutes by gzip."""
        reference = registry.reference(image.name, image.tag)
        if not registry.has(image.name, image.tag):
            squeezed = ("--format=oci", "--compression-format=zstd", "--compression-level=1")
            push = self._buildah("push", "--quiet", *squeezed, "--tls-verify=false", image.id, f"docker://{reference}")
            _run((*registry.enclosure.network, *push), 20 * _MINUTES)
        return reference

    def tag(self, image: Image, reference: str) -> None:
        """Gives it a name for those who share this store: see `compose`."""
        _run(self._buildah("tag", image.id, reference), _MINUTES)

    @property
    def storage(self) -> Path:
        """Where the images are, for programs that can read them there."""
        return self.folder / "buildah"

    def bases(self) -> dict[str, str]:
        """The arguments of a Dockerfile that make it one on bases of ours."""
        return {"BASE_IMAGE": self.base("python3").id, "BUILD_IMAGE": self.base("python3-build").id}

    def _bud(self, file: Path, context: Path, arguments: Mapping[str, str], target: str, seconds: float) -> str:
        told = self.folder / "built" / f".id-{os.getpid()}"
        told.parent.mkdir(parents=True, exist_ok=True)
        words = (
            # Docker's format, because the other one knows no health checks.
            *("bud", "--format=docker", "--isolation=chroot", "--network=host", "--layers", "--pull-never"),
            f"--iidfile={told}",
            *(f"--volume={outside}:{inside}:ro" for inside, outside in self._settings().items()),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            *((f"--target={target}",) if target else ()),
            f"--file={file}",
            str(context),
        )
        try:
            _run(self._buildah(*words), seconds)
            return told.read_text().removeprefix("sha256:")
        finally:
            told.unlink(missing_ok=True)

    def _settings(self) -> dict[Path, Path]:
        """How this machine reaches its package registries, by the file that says it inside. Mounted while a build runs,
        over files that the bases hold empty: no layer says anything of it.
        """
        folder = self.folder / "settings"
        folder.mkdir(parents=True, exist_ok=True)
        pip, uv = folder / "pip.conf", folder / "uv.toml"
        index = _pip_settings()
        pip.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in index.items()))
        uv.write_text(_uv_settings(index))
        authorities = {Path("/etc/ssl/certs/ca-certificates.crt"): _authorities()}
        return {Path("/etc/pip.conf"): pip, Path("/etc/uv/uv.toml"): uv, **authorities}

    def _exists(self, image: str) -> bool:
        words = self._buildah("inspect", "--type=image", "--format={{.FromImageID}}", image)
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def _buildah(self, *words: str) -> tuple[str, ...]:
        where = (f"--root={self.storage}", f"--runroot={self.storage}-run", "--storage-driver=overlay")
        return ("buildah", *where, *words)


# ── what an image is made from ────────────────────────────────────────────────────────────────────────────────────────


def _copied(dockerfile: str, arguments: Mapping[str, str]) -> tuple[str, ...]:
    """What a Dockerfile copies from its context, as paths in it; everything where that is not plain to see."""
    for name, value in arguments.items():
        dockerfile = dockerfile.replace(f"${{{name}}}", value)
    lines = dockerfile.replace("\\\n", " ").splitlines()
    copies = [line.split()[1:] for line in lines if line.startswith(("COPY ", "ADD "))]
    local = [words for words in copies if not any(word.startswith("--from=") for word in words)]
    sources = [word for words in local for word in words[:-1] if not word.startswith("--")]
    plain = "type=bind" not in dockerfile and not any(set(word) & set('$*?["') for word in sources)
    return tuple(sorted({os.path.normpath(word) for word in sources})) if plain else (".",)


def _content(context: Path, paths: Sequence[str]) -> Iterator[bytes]:
    """Of every file in them: its path, whether it can be run, and what is in it."""
    for path in _files(context, paths) if paths else ():
        if path.is_symlink():
            yield f"{path.relative_to(context)} → {path.readlink()}".encode()
        elif path.is_file():  # git also lists what was deleted
            executable = bool(path.stat().st_mode & 0o111)
            yield f"{path.relative_to(context)} {executable}".encode()
            yield path.read_bytes()


def _files(context: Path, paths: Sequence[str]) -> list[Path]:
    listing = ("git", "-C", str(context), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    listed = subprocess.run(listing, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return sorted({context / name for name in listed.stdout.rstrip("\0").split("\0")})
    found = (each for path in paths for each in (context / path, *(context / path).rglob("*")))
    return sorted({path for path in found if not path.is_dir()})


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8))  # so that no two lists of parts look the same
        whole.update(part)
    return whole.hexdigest()


# ── this machine's way to package registries ──────────────────────────────────────────────────────────────────────────

_OF_PIP = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout", "retries")


def _pip_settings() -> dict[str, str]:
    """What decides where pip looks and how patiently, from its files and its environment; no paths of this machine."""
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip is None:
        return {}
    listed = subprocess.run((pip, "config", "list"), capture_output=True, text=True, check=False).stdout
    pairs = (line.partition("=") for line in listed.splitlines() if "=" in line)
    found = {key.rpartition(".")[2]: str(ast.literal_eval(value)) for key, _, value in pairs}
    return {key: value.replace("\n", " ") for key, value in found.items() if key in _OF_PIP}


def _uv_settings(pip: Mapping[str, str]) -> str:
    """The person's own uv.toml where there is one; otherwise uv looks where pip looks."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL") or pip.get("index-url")
    places = (os.environ.get("UV_CONFIG_FILE"), Path.home() / ".config/uv/uv.toml", "/etc/uv/uv.toml")
    own = next((Path(place).read_text() for place in places if place and Path(place).exists()), "")
    lines = [line for line in own.splitlines() if not line.startswith(("native-tls", "link-mode", "cache-dir"))]
    ours = ["native-tls = true", 'link-mode = "copy"']
    table = ["", "[[index]]", f"url = {json.dumps(index)}", "default = true"] if index and "index" not in own else []
    return "\n".join([*ours, *lines, *table, ""])


def _authorities() -> Path:
    """Whom this machine trusts: a registry behind a company's proxy is signed by its own authority."""
    known = ssl.get_default_verify_paths()
    return Path(os.environ.get("SSL_CERT_FILE") or known.cafile or "/etc/ssl/certs/ca-certificates.crt").resolve()


# ── programs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _run(words: Sequence[str | Path], seconds: float) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError as error:
        raise BuildFailed(f"{error.filename} is not installed: scripts/node-tools installs what is needed") from error
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(map(str, words))}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

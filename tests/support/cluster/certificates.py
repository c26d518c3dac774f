"""A certificate authority of a test's own, by openssl (3 or newer): who is who in a cluster that nobody else trusts."""

import base64
import ipaddress
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ADMIN_GROUP = "system:masters"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = "3650"
# openssl's own configuration would add extensions of its choice.
_CONFIGURATION = "[req]\ndistinguished_name = name\n[name]\n"


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class SigningKey:
    """A key and its public half, both PEM files."""

    key: Path
    public: Path


@dataclass(frozen=True)
class Authority:
    """Issues certificates into `folder`."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        """Also the key that signs the tokens of service accounts."""
        folder.mkdir(parents=True)
        authority = cls(folder)
        authority._configuration.write_text(_CONFIGURATION)
        pair = authority.pair
        _openssl(
            *("req", "-x509", *_CURVE, "-days", _DAYS, "-config", authority._configuration, "-subj", "/CN=test-ca"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-addext", "subjectKeyIdentifier=hash", "-keyout", pair.key, "-out", pair.certificate),
        )
        tokens = authority.tokens
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tokens.key)
        _openssl("pkey", "-in", tokens.key, "-pubout", "-out", tokens.public)
        return authority

    @property
    def pair(self) -> KeyPair:
        """The authority's own."""
        return self._pair("ca")

    @property
    def tokens(self) -> SigningKey:
        """Of the service accounts' tokens."""
        return SigningKey(self.folder / "service-accounts.key", self.folder / "service-accounts.pub")

    def issue(self, name: str, *, user: str, groups: Iterable[str] = (), hosts: Iterable[str] = ()) -> KeyPair:
        """`<name>.crt` and `<name>.key`, good as a client (`user`, `groups`) and as a server (`hosts`)."""
        pair = self._pair(name)
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        alternatives = ",".join(_alternative(host) for host in hosts)
        _openssl(
            *("req", "-x509", *_CURVE, "-days", _DAYS, "-config", self._configuration, "-subj", subject),
            *("-CA", self.pair.certificate, "-CAkey", self.pair.key, "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=serverAuth,clientAuth"),
            *(("-addext", f"subjectAltName={alternatives}") if alternatives else ()),
            *("-keyout", pair.key, "-out", pair.certificate),
        )
        return pair

    def kubeconfig(self, path: Path, url: str, pair: KeyPair) -> Path:
        """Written to `path`, with everything inside, so that it may be carried into a container."""
        user = {
            "client-certificate-data": _encoded(pair.certificate.read_bytes()),
            "client-key-data": _encoded(pair.key.read_bytes()),
        }
        return self._write_kubeconfig(path, url, user)

    def token_kubeconfig(self, path: Path, url: str, token: str) -> Path:
        return self._write_kubeconfig(path, url, {"token": token})

    def _write_kubeconfig(self, path: Path, url: str, user: dict[str, str]) -> Path:
        return write_kubeconfig(path, {"server": url, "certificate-authority-data": self.encoded_certificate}, user)

    @property
    def encoded_certificate(self) -> str:
        """As kubeconfigs and webhook configurations carry it."""
        return _encoded(self.pair.certificate.read_bytes())

    def _pair(self, name: str) -> KeyPair:
        return KeyPair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    @property
    def _configuration(self) -> Path:
        return self.folder / "openssl.cnf"


def write_kubeconfig(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    """One cluster, one user, one context."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    path.chmod(0o600)
    return path


def _alternative(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(("openssl", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {words[0]} failed:\n{done.stderr}"

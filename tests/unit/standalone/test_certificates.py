"""Certificates of one machine's S3 server: made once, made anew before they end, for nobody else to read."""

import os
import ssl
import time
from pathlib import Path

from auteur_standalone import certificates
from auteur_standalone.certificates import AUTHORITY, CERTIFICATE, KEY


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_they_stay_as_they_are_until_they_end_soon(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    certificates.ensure(folder)
    first = content(folder)
    assert set(first) == {AUTHORITY, CERTIFICATE, KEY}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    certificates.ensure(folder)
    assert content(folder) == first
    nine_years_ago = time.time() - 9.5 * 365 * 86400
    os.utime(folder / KEY, (nine_years_ago, nine_years_ago))
    certificates.ensure(folder)
    assert content(folder).keys() == first.keys()
    assert not set(content(folder).values()) & set(first.values())


def test_a_peer_that_knows_the_authority_believes_them(tmp_path: Path) -> None:
    certificates.ensure(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / CERTIFICATE, tmp_path / KEY)
    client = ssl.create_default_context(cafile=str(tmp_path / AUTHORITY))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(back, there, server_hostname="127.0.0.1")
    answers = server.wrap_bio(there, back, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(4):
        for side in (asks, answers):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    assert done == {asks, answers}

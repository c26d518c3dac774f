"""What a stranger on this machine gets from what listens: `python -m tests.support.knock USER PORT-OR-PATH…`, one JSON
object of answers. Root becomes the user of that number before it asks.
"""

import encodings.idna  # noqa: F401  # needed later, when its file may not be read any more
import http.client
import json
import os
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

FOREIGN = {"Origin": "http://elsewhere.example", "Content-Type": "text/plain"}
ASKED = (
    ("GET", "/"),
    ("POST", "/"),
    ("DELETE", "/buckets/auteur?recursive=true"),
    ("GET", "/buckets/auteur/"),
    ("GET", "/dir/status"),
    ("GET", "/dir/assign"),
    ("GET", "/col/delete?collection=auteur"),
    ("GET", "/vol/vacuum"),
    ("POST", "/submit"),
    ("GET", "/1,01637037d6"),
    ("POST", "/v1/generations"),
    ("DELETE", "/v1/generations/some"),
    ("GET", "/auteur"),
)
"""As SeaweedFS's parts, S3 and our own API are asked to show or to drop something."""


def by_http(port: int) -> dict[str, str]:
    """Status and whether pages elsewhere may read it; 0 where nobody speaks HTTP."""
    return {f"{method} {path}": _ask(port, method, path) for method, path in ASKED}


def _ask(port: int, method: str, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body=b"{}" if method == "POST" else None, headers=FOREIGN)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException):
        return "0"
    else:
        return f"{answer.status}{' shown' if answer.getheader('Access-Control-Allow-Origin') else ''}"
    finally:
        connection.close()


def by_tls(port: int) -> bool:
    """Whether somebody goes on talking HTTP/2 over TLS to who shows no certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            wrapped.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            return bool(wrapped.recv(1))
    except OSError:
        return False


def by_http2(port: int) -> bool:
    """The same without TLS."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            plain.settimeout(5)
            return plain.recv(9)[3:4] == b"\x04"  # its own settings: it is ready to be asked
    except OSError:
        return False


def by_nats(port: int) -> str:
    """What a NATS server says to who subscribes to everything without a password; empty where there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            plain.settimeout(5)
            if not plain.recv(4096).startswith(b"INFO "):
                return ""
            plain.sendall(b'CONNECT {"verbose":true}\r\nSUB > 1\r\nPING\r\n')
            return plain.recv(4096).decode(errors="replace").strip()
    except OSError:
        return ""


def by_path(path: str) -> bool:
    """Whether a socket of the file system lets us in."""
    with socket.socket(socket.AF_UNIX) as there:
        try:
            there.connect(path)
        except OSError:
            return False
        return True


def knock(word: str) -> dict[str, object] | bool:
    if not word.isdigit():
        return by_path(word)
    port = int(word)
    return {"http": by_http(port), "nats": by_nats(port), "tls": by_tls(port), "http2": by_http2(port)}


if __name__ == "__main__":
    user, *words = sys.argv[1:]
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    with ThreadPoolExecutor(len(words)) as together:
        print(json.dumps(dict(zip(words, together.map(knock, words), strict=True))))

"""The token of a claim: what a report must carry to be believed. Derived, so that nothing secret is stored."""

import hashlib
import hmac


def token_of(secret: bytes, uid: str, attempt: int, nonce: str) -> str:
    """HMAC-SHA256 over the claim; only the worker that was granted it has been told."""
    return hmac.new(secret, f"{uid}/{attempt}/{nonce}".encode(), hashlib.sha256).hexdigest()


def is_token(token: str, secret: bytes, uid: str, attempt: int, nonce: str) -> bool:
    """Bytes are compared: of text the function takes ASCII only, and a token may be anything that a stranger sends."""
    return hmac.compare_digest(token.encode(), token_of(secret, uid, attempt, nonce).encode())

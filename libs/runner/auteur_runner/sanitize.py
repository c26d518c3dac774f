"""Texts from an author's code, as they may travel: valid UTF-8, of bounded length."""


def sanitize(text: object, limit: int) -> str:
    """Lone surrogates (of file names, of broken decoders) would make a message impossible to encode."""
    return str(text)[:limit].encode("utf-8", "replace").decode("utf-8")

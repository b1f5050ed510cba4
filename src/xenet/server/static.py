"""The files of a web page, such as XO Lite, which expects its page and the API at one address."""

from pathlib import Path

_TEXT = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".map": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".xml": "application/xml",
}
_BINARY = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".pdf": "application/pdf",
}


def media_type(file: Path) -> bytes:
    """By the file's ending, from our own list: the system's may give a script a type that browsers refuse to run."""
    suffix = file.suffix.lower()
    if suffix in _TEXT:
        return f"{_TEXT[suffix]}; charset=utf-8".encode()
    return _BINARY.get(suffix, "application/octet-stream").encode()


def find_file(root: Path, path: str) -> Path | None:
    """The file that a URL's decoded path names below `root` (a resolved path), a folder's index.html, or None.

    Neither `..` nor a symbolic link leads out of `root`.
    """
    try:
        found = (root / path.lstrip("/")).resolve()
        found = found / "index.html" if found.is_dir() else found
        return found if found.resolve().is_relative_to(root) and found.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a name too long, a null character, a loop of links (RuntimeError until Python 3.13)
        return None

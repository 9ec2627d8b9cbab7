"""Files from the network, resumed and verified; archives unpacked, but none that reaches outside its folder."""

import gzip
import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import requests
import urllib3
from tqdm.auto import tqdm

PIECE = 1 << 16  # bytes; what of a piece has come when a connection breaks is lost
TIMEOUT = (10, 30)  # seconds to connect, and between two pieces
TRIES = 5  # a connection that breaks is taken up again as often


class Damaged(OSError):
    """An archive that is whole by its size and cannot be unpacked."""


def download(urls: list[str], path: Path, **checksum: str) -> None:
    """Downloads ``path`` from the first of ``urls`` that has it, continuing what an earlier call has left.

    ``checksum`` is md5=... or sha256=..., if one is published. Raises OSError with one sentence that says what became
    of each address; ``path`` is there only when it is whole.
    """
    if path.exists() and _right(path, checksum):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    failed = []
    for url in urls:
        part = path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
        try:
            resumed = part.exists()
            _transfer(url, part)
            if resumed and not _right(part, checksum):  # the file has changed since then: once more from the start
                part.unlink()
                _transfer(url, part)
        except requests.RequestException as error:
            failed.append(f"{url} ({reason(error)})")
            continue
        if _right(part, checksum):
            os.replace(part, path)
            return
        part.unlink()
        failed.append(f"{url} (its content is not the published one: wrong {next(iter(checksum))})")
    raise OSError(f"{path.name} could not be downloaded from " + ", nor from ".join(failed))


def reason(error: Exception) -> str:
    """An error in half a line. Those of requests wrap what happened several times: the innermost says it."""
    cause = error
    while isinstance(error, requests.RequestException) and (cause.__cause__ or cause.__context__):
        cause = cause.__cause__ or cause.__context__
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    kind = "" if type(error) in (OSError, ValueError) else f"{type(error).__name__}: "  # those are our own sentences
    return kind + " ".join(text.split())[:600]


def _transfer(url: str, part: Path) -> None:
    """Downloads what is missing of ``part``; a connection that breaks after having brought something is taken up."""
    for attempt in range(1, TRIES + 1):
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                if have and answer.status_code == 416:  # nothing is left to send, or another file is there now
                    if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                        return
                    part.unlink()
                    return _transfer(url, part)
                answer.raise_for_status()
                if answer.status_code != 206:
                    have = 0  # the server sends all of it again
                _write(answer, part, have)
            return
        except requests.ConnectionError:
            went_on = part.exists() and part.stat().st_size > have
            if attempt == TRIES or not went_on:
                raise


def _write(answer: requests.Response, part: Path, have: int) -> None:
    total = have + int(answer.headers.get("Content-Length", 0)) or None
    bar = tqdm(total=total, initial=have, desc=part.name.split(".")[0], unit="B", unit_scale=True, mininterval=1)
    try:
        with bar, part.open("ab" if have else "wb") as file:
            # As it is: some servers call a .tgz a compressed .tar, and requests would undo that.
            for piece in answer.raw.stream(PIECE, decode_content=False):
                file.write(piece)
                bar.update(len(piece))
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error
    if total and part.stat().st_size < total:
        raise requests.ConnectionError("the connection ended early")


def _right(path: Path, checksum: dict[str, str]) -> bool:
    for kind, wanted in checksum.items():
        digest = hashlib.new(kind)
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        if digest.hexdigest() != wanted:
            return False
    return True


_BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a .zip or .tar(.gz) into ``folder``. Raises ValueError, before anything is written, for one that holds a
    path that leads outside, and `Damaged`.
    """
    check_members(archive)
    try:
        if zipfile.is_zipfile(archive):
            shutil.unpack_archive(archive, folder, "zip")
        else:
            _read_to_the_end(archive)
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.10.12 and later
            shutil.unpack_archive(archive, folder, "tar", **safely)
    except _BROKEN as error:
        raise Damaged(f"{archive.name} is damaged ({error}): fetch it again.") from error


def _read_to_the_end(archive: Path) -> None:
    """tarfile stops before the checksum at the end of a .gz, so that changed bytes would go unnoticed."""
    with archive.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    if compressed:
        with gzip.open(archive) as file:
            while file.read(1 << 20):
                pass


def check_members(archive: Path) -> None:
    """Raises ValueError if the archive holds a path, or a link, that leads outside the folder it is unpacked into."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                members = [(name, "") for name in file.namelist()]
        else:
            with tarfile.open(archive) as file:
                members = [(member.name, member.linkname) for member in file]
    except _BROKEN as error:
        raise Damaged(f"{archive.name} is damaged ({error}): fetch it again.") from error
    for name, link in members:
        if _leads_out(name) or (link and _leads_out(link)):
            raise ValueError(f"{archive.name} holds {name!r}, which leads outside its folder: it was not unpacked.")


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0] if path.parts else False

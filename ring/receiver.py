"""Takes rings that an operator publishes: staged first, checked, and put into use when all servers have them.

    PUT /rings/NAME        the body is kept as NAME.staged, if its SHA-256 is the one signed and it is a ring
    POST /rings/activate   {"rings": {NAME: SHA-256}}: all of them are put into use, or none; one that is older than the
                           ring it replaces only with "older": true

The ring a new one replaces is kept as NAME.previous, whose time of modification is that of the replacement. Several
services of a machine may share the folder: what one has put into use is so for the others too.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.http.signing import Signer
from objstore.ring.errors import RingFileError
from objstore.ring.format import FILE_MODE, read_ring
from objstore.ring.ring import Ring
from objstore.ring.rings import PREVIOUS
from objstore.runtime import Runtime
from objstore.system import files, locks
from objstore.system.generations import shared_generations

ROUTE: Final = "rings"
ACTIVATE_PATH: Final = f"/{ROUTE}/activate"
KEY_PURPOSE: Final = "publish rings"
NAME: Final = re.compile(r"(account|container|object(-[1-9][0-9]{0,8})?)\.ring\.gz")
STAGED: Final = ".staged"
LOCK_FILE: Final = ".rings.lock"
RING_BYTES_MAX: Final = 512 * 1024 * 1024
ACTIVATION_BYTES_MAX: Final = 64 * 1024
CHUNK_BYTES: Final = 256 * 1024
LOCK_TIMEOUT_SECONDS: Final = 30.0


class Activation(Struct, frozen=True, forbid_unknown_fields=True):
    """The SHA-256 of each ring to be put into use, by its name, and whether it may replace a newer one."""

    rings: dict[str, str]
    older: bool = False


class RingReceiver:
    """Answers for /rings/ on one server. Files are replaced atomically, and durable before the answer."""

    def __init__(self, ring_dir: str, signer: Signer, runtime: Runtime) -> None:
        self._ring_dir: Final = ring_dir
        self._signer: Final = signer
        self._runtime: Final = runtime
        # Made before the workers are forked: through it the one that replaces a ring tells the others.
        self._generations: Final = shared_generations()

    def handle(self, request: Request) -> Response:
        """One request. Raises HttpError: 403 unless it is signed with the cluster's key."""
        digest = self._signer.check(request, self._runtime.shared_marks)
        if request.path == ACTIVATE_PATH:
            if request.method != "POST":
                raise HttpError(405, headers={"Allow": "POST"})
            return self._activate(request, digest)
        if request.method != "PUT":
            raise HttpError(405, headers={"Allow": "PUT"})
        return self._stage(_name_of(request), request, digest)

    def _stage(self, name: str, request: Request, digest: str) -> Response:
        request.check_length(RING_BYTES_MAX)
        path = self._path(name)
        temporary = files.temporary_name(path + STAGED)
        try:
            self._receive(request, temporary, digest)
            ring = self._runtime.threads.call(_read_staged, temporary)
            self._runtime.threads.call(_replace, temporary, path + STAGED)
        except OSError as error:
            raise HttpError(507, f"The ring cannot be kept: {error.strerror or error}") from error
        finally:
            files.unlink_quietly(temporary)
        running = self._runtime.threads.call(_version_of, path)
        self._runtime.log.info("ring staged", ring=name, version=ring.version, replaces=running)
        return _json(201, {"version": ring.version, "running_version": running})

    def _receive(self, request: Request, path: str, digest: str) -> None:
        """Write the body to a new file, durably. Raises HttpError 422 when it is not what was signed, OSError."""
        found = hashlib.sha256()
        with open(path, "xb", opener=_private) as file:
            while chunk := request.body.read(CHUNK_BYTES):
                found.update(chunk)
                self._runtime.threads.call(file.write, chunk)
                if file.tell() > RING_BYTES_MAX:
                    raise HttpError(413, "The ring is too large")
            file.flush()
            self._runtime.threads.call(os.fsync, file.fileno())
        if found.hexdigest() != digest:
            raise HttpError(422, "The body is not what was signed")

    def _activate(self, request: Request, digest: str) -> Response:
        wanted = _activation_of(request, digest)
        names = sorted(wanted.rings)
        try:
            with locks.locked(os.path.join(self._ring_dir, LOCK_FILE), LOCK_TIMEOUT_SECONDS):
                checksums = self._runtime.threads.call(self._switch, wanted, self._runtime.clock.now())
        except locks.LockTimeout:
            raise HttpError(503, "Another activation is under way") from None
        except OSError as error:
            raise HttpError(507, f"The rings cannot be put into use: {error.strerror or error}") from error
        for name in names:
            self._generations.bump(self._path(name))
        self._runtime.log.info("rings activated", rings=", ".join(names))
        return _json(200, checksums)

    def _switch(self, wanted: Activation, now_seconds: float) -> dict[str, str]:
        """Put all rings into use; the MD5 of each, as /recon/ringmd5 has it. Blocks; raises HttpError 409, OSError."""
        new = []
        for name, digest in wanted.rings.items():
            path = self._path(name)
            if _digest_of(path) == digest:
                continue  # put into use by another service of this machine, or long ago
            if _digest_of(path + STAGED) != digest:
                raise HttpError(409, f"{name} was not staged here, or another one since: publish again")
            staged, running = read_ring(path + STAGED).version, _version_of(path)
            if running is not None and staged < running and not wanted.older:
                raise HttpError(409, f"Version {staged} of {name} is older than {running}, which is in use")
            new.append(path)
        for path in new:
            _keep_previous(path, now_seconds)
            os.replace(path + STAGED, path)
        files.fsync_directory(self._ring_dir)
        return {name: _digest_of(self._path(name), "md5") for name in wanted.rings}

    def _path(self, name: str) -> str:
        return os.path.join(self._ring_dir, name)


def _name_of(request: Request) -> str:
    name = request.path.removeprefix(f"/{ROUTE}/")
    if NAME.fullmatch(name) is None:
        raise HttpError(404, "There is no such ring; the names are account, container, object or object-N .ring.gz")
    return name


def _activation_of(request: Request, digest: str) -> Activation:
    body = request.whole_body(ACTIVATION_BYTES_MAX)
    if hashlib.sha256(body).hexdigest() != digest:
        raise HttpError(422, "The body is not what was signed")
    try:
        wanted = msgspec.json.decode(body, type=Activation)
    except msgspec.MsgspecError as error:
        raise HttpError(400, f"The body is not understood: {error}") from error
    strange = [name for name in wanted.rings if NAME.fullmatch(name) is None]
    if strange or not wanted.rings:
        raise HttpError(400, "The body names no ring, or something that is none")
    return wanted


def _read_staged(path: str) -> Ring:
    try:
        return read_ring(path)
    except RingFileError as error:
        raise HttpError(422, f"This is {error.reason}") from error


def _version_of(path: str) -> int | None:
    """The version of the ring in use, None when there is none that can be read."""
    try:
        return read_ring(path).version
    except RingFileError:
        return None


def _replace(temporary: str, path: str) -> None:
    os.chmod(temporary, FILE_MODE)
    os.replace(temporary, path)
    files.fsync_directory(os.path.dirname(path))


def _keep_previous(path: str, now_seconds: float) -> None:
    """Give the ring in use a second name, under which it stays when it is replaced."""
    temporary = files.temporary_name(path + PREVIOUS)
    try:
        os.link(path, temporary)
    except FileNotFoundError:
        return
    os.utime(temporary, (now_seconds, now_seconds))
    os.replace(temporary, path + PREVIOUS)


def _digest_of(path: str, kind: str = "sha256") -> str:
    """In hex; empty when there is no such file."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=kind != "md5")).hexdigest()
    except FileNotFoundError:
        return ""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, files.FILE_MODE)


def _json(status: int, value: dict[str, Any]) -> Response:
    return Response(status, {"Content-Type": "application/json"}, msgspec.json.encode(value))

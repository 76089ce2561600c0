"""Model files from the Hugging Face hub: resumed where cut, checked by sha256, kept in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from agentkit.cache_folder import cache_folder
from agentkit.errors import AgentError
from agentkit.models.local.errors import ModelFileInvalid
from agentkit.models.local.gguf_check import check_gguf

if TYPE_CHECKING:
    import httpx

Progress = Callable[[int, int | None], None]
"""Called with the bytes at hand and, where known, the bytes in all."""

HUB = "https://huggingface.co"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_RETRIES = 4


class PullFailed(AgentError):
    """A model could not be had; says what to do instead."""


class ChecksumMismatch(PullFailed):
    """What arrived is not what the hub says it sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """A file on the hub, as `hf:owner/repo/file.gguf` names it."""

    owner: str
    repo: str
    path: str

    @classmethod
    def parse(cls, name: str) -> HubFile:
        """Raises PullFailed for a name that is not of that form."""
        parts = name.removeprefix("hf:").split("/")
        sound = len(parts) >= 3 and all(_NAME.fullmatch(p) and ".." not in p for p in parts)
        if not sound or not parts[-1].lower().endswith(".gguf"):
            raise PullFailed(
                f"{name!r} names no model file; write hf:OWNER/REPO/FILE.gguf, like "
                "hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf"
            )
        return cls(owner=parts[0], repo=parts[1], path="/".join(parts[2:]))

    def url(self, endpoint: str) -> str:
        """Where the hub at `endpoint` keeps it."""
        return f"{endpoint.rstrip('/')}/{self.owner}/{self.repo}/resolve/main/{quote(self.path)}"

    def place(self, folder: Path) -> Path:
        """Where it is kept under `folder`."""
        return folder / self.owner / self.repo / self.path


def default_folder() -> Path:
    """The folder for models of this user: `$XDG_CACHE_HOME/agentkit/models` or `~/.cache/...`."""
    return cache_folder("models")


def pulled(name: str, *, folder: Path | None = None) -> Path | None:
    """The path of a model that was pulled before; None where it was not."""
    path = HubFile.parse(name).place(folder or default_folder())
    return path if path.is_file() else None


def pull(
    name: str,
    *,
    progress: Progress | None = None,
    folder: Path | None = None,
    token: str | None = None,
    endpoint: str = HUB,
    timeout_seconds: float = 30.0,
) -> Path:
    """The path of the model `name`, downloaded if it is not there yet.

    A cut download goes on where it ended, at once and in later runs. The sha256 of the hub is
    checked and kept beside the file. Raises PullFailed, ChecksumMismatch and ModelFileInvalid.
    """
    wanted = HubFile.parse(name)
    place = wanted.place(folder or default_folder())
    if place.is_file():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{place.name}.partial")
    with _exclusive(partial, name):
        download = _Download(
            name=name, url=wanted.url(endpoint), endpoint=endpoint, token=token,
            timeout_seconds=timeout_seconds, progress=progress,
        )  # fmt: skip
        expected = download.to(partial)
        digest = _sha256(partial)
        if expected is not None and digest != expected:
            partial.unlink()
            raise ChecksumMismatch(
                f"{name}: the file's sha256 is {digest} and the hub says {expected}; "
                "what was downloaded is deleted, pull again"
            )
        try:
            check_gguf(str(partial))
        except ModelFileInvalid as error:
            partial.unlink()
            raise ModelFileInvalid(name, error.problem, advice="choose another file") from error
        place.with_name(f"{place.name}.sha256").write_text(f"{digest}  {place.name}\n")
        os.replace(partial, place)
    return place


class _Download:
    """One file on its way; each attempt asks for what is still missing."""

    def __init__(
        self, *, name: str, url: str, endpoint: str, token: str | None, timeout_seconds: float,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self._name = name
        self._url = url
        self._token = token
        self._timeout_seconds = timeout_seconds
        self._progress = progress
        self._home = urlsplit(endpoint)

    def to(self, partial: Path) -> str | None:
        """Fill `partial`; the sha256 that the hub states, where it states one."""
        import httpx
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt
        from tenacity.wait import wait_random_exponential

        attempts = Retrying(
            retry=retry_if_exception_type((httpx.TransportError, _Interrupted)),
            stop=stop_after_attempt(_RETRIES),
            wait=wait_random_exponential(multiplier=0.3, max=5.0),
            reraise=True,
        )
        try:
            return attempts(self._attempt, partial)
        except (httpx.TransportError, _Interrupted) as error:
            raise PullFailed(
                f"{self._name}: {self._home.hostname} cannot be reached or cuts the connection "
                f"({type(error).__name__}); what arrived is kept, pull again to go on. Or download "
                f"{self._url} by other means and use local:/PATH/TO/FILE.gguf"
            ) from error

    def _attempt(self, partial: Path) -> str | None:
        import httpx

        have = partial.stat().st_size if partial.exists() else 0
        timeout = httpx.Timeout(self._timeout_seconds)
        with (
            httpx.Client(timeout=timeout, follow_redirects=False, trust_env=True) as client,
            self._opened(client, have) as (response, sha256),
        ):
            if response.status_code == 416 and have:
                return self._complete_or_restart(response, partial, have, sha256)
            if response.status_code == 200:
                have = 0
            elif response.status_code != 206 or _range_start(response) != have:
                self._refused(response)
            self._write(response, partial, have)
            return sha256

    @contextlib.contextmanager
    def _opened(
        self, client: httpx.Client, have: int
    ) -> Generator[tuple[httpx.Response, str | None]]:
        """The response after redirects, and the sha256 that any of them stated."""
        url, sha256 = self._url, None
        for _ in range(_MOST_REDIRECTS + 1):
            self._require_allowed(url)
            with client.stream("GET", url, headers=self._headers(url, have)) as response:
                sha256 = sha256 or _stated_sha256(response)
                if response.status_code not in _REDIRECTS:
                    yield response, sha256
                    return
                url = urljoin(url, response.headers.get("location", ""))
        raise PullFailed(f"{self._name}: the hub redirects without end; pull again later")

    def _headers(self, url: str, have: int) -> dict[str, str]:
        """The token goes to the hub alone, never to where it redirects."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "agentkit"}
        if have:
            headers["Range"] = f"bytes={have}-"
        if self._token and urlsplit(url).netloc == self._home.netloc:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _require_allowed(self, url: str) -> None:
        parts = urlsplit(url)
        local = self._home.hostname in _LOOPBACK and parts.hostname in _LOOPBACK
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise PullFailed(
                f"{self._name}: refused to go to {parts.scheme}://{parts.hostname}; "
                "models are only downloaded over https"
            )

    def _write(self, response: httpx.Response, partial: Path, have: int) -> None:
        length = response.headers.get("content-length")
        total = have + int(length) if length is not None and length.isdecimal() else None
        with open(partial, "ab" if have else "wb") as file:
            for chunk in response.iter_raw():  # as it comes, so that a cut loses nothing
                file.write(chunk)
                have += len(chunk)
                if self._progress is not None:
                    self._progress(have, total)
        if total is not None and have < total:
            raise _Interrupted

    def _complete_or_restart(
        self, response: httpx.Response, partial: Path, have: int, sha256: str | None
    ) -> str | None:
        """Nothing is left to send: either all is here, or what is here is of another file."""
        total = response.headers.get("content-range", "").rpartition("/")[2]
        if total == str(have):
            return sha256
        partial.unlink()
        raise _Interrupted

    def _refused(self, response: httpx.Response) -> None:
        status = response.status_code
        advice = {
            401: "it is gated or private: give a token of an account that may read it",
            403: "it is gated or private: give a token of an account that may read it",
            404: "check owner, repository and file name",
        }.get(status, "pull again later")
        if status >= 500 or status == 429:
            raise _Interrupted
        raise PullFailed(f"{self._name}: the hub answers {status}; {advice}")


class _Interrupted(Exception):
    """The rest must be asked for again."""


_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@contextlib.contextmanager
def _exclusive(partial: Path, name: str) -> Generator[None]:
    """One download of a file at a time on this machine, where the system can lock files."""
    try:
        import fcntl
    except ImportError:  # Windows: the atomic rename at the end is all that protects there
        yield
        return
    lock = partial.with_name(f"{partial.name}.lock")
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PullFailed(f"{name} is being pulled by another process; wait for it") from error
        yield


def _stated_sha256(response: httpx.Response) -> str | None:
    for header in ("x-linked-etag", "etag"):
        value = response.headers.get(header, "").removeprefix("W/").strip('"')
        if _SHA256.fullmatch(value):
            return str(value)
    return None


def _range_start(response: httpx.Response) -> int | None:
    match = _RANGE.fullmatch(response.headers.get("content-range", ""))
    return int(match[1]) if match else None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

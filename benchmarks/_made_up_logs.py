"""Logs in formats that the log files of the data lack, with the template of each line known."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

LINES = 2_000
TEMPLATES = 50
_RARE = 12
_SEED = 2026
_VERBS = (
    "accepted closed dropped evicted fetched flushed hashed indexed joined leased loaded merged "
    "moved opened parsed pinned polled probed purged queued read rebuilt refused reloaded renewed "
    "replayed resolved retried revoked rolled sampled scaled sealed sent signed skipped split "
    "started stopped stored swept synced throttled traced trimmed tuned verified voted woke wrote"
).split()
_NOUNS = (
    "agent array backup batch block bucket cache chunk client cluster commit consumer cursor "
    "digest disk driver edge epoch fence field frame gateway grant graph handle heap index job "
    "journal key lease ledger level lock log map member mesh node offset packet page peer pipe "
    "policy pool port proxy quota queue quorum range record region replica route rule schema "
    "segment session shard slot snapshot socket span stream table task tenant thread token topic "
    "tree trunk tunnel vault view volume watcher window worker zone"
).split()
_NAMES = "amara bruno chidi dalia edwin farah goran hiroko ingrid jonas kavya lucia mateo".split()

Value = Callable[[random.Random], str]


def _hex(rng: random.Random) -> str:
    return f"{rng.getrandbits(48):012x}"


def _address(rng: random.Random) -> str:
    return ".".join(str(rng.randrange(256)) for _ in range(4))


def _path(rng: random.Random) -> str:
    return f"/var/{rng.choice(_NOUNS)}/{rng.choice(_NOUNS)}.{rng.choice(['db', 'idx', 'tmp'])}"


_VALUES: tuple[Value, ...] = (
    lambda rng: str(rng.randrange(10_000)),
    lambda rng: f"{rng.uniform(0, 900):.2f}ms",
    lambda rng: f"{_address(rng)}:{rng.randrange(1_024, 60_000)}",
    lambda rng: rng.choice(_NAMES),
    lambda rng: f'"{rng.choice(_NAMES)} {rng.choice(_NAMES)}"',
    _hex,
    _path,
)


def _klog(rng: random.Random, at: int, said: str) -> str:
    level = "E" if "failed" in said else rng.choice("IIIW")
    return f"{level}1125 {_clock(at)}.{rng.randrange(10**6):06d}       1 ctl.go:{len(said)}] {said}"


def _logfmt(rng: random.Random, at: int, said: str) -> str:
    level = "error" if "failed" in said else "info"
    return f"ts=2026-11-25T{_clock(at)}Z level={level} trace={_hex(rng)} msg={said}"


def _postgres(rng: random.Random, at: int, said: str) -> str:
    level = "ERROR" if "failed" in said else "LOG"
    at_ms = f"{_clock(at)}.{rng.randrange(1000):03d}"
    return f"2026-11-25 {at_ms} UTC [{rng.randrange(99999)}] {level}:  {said}"


def _python(rng: random.Random, at: int, said: str) -> str:
    level = "ERROR" if "failed" in said else "INFO"
    module = said.split(maxsplit=1)[0]
    return f"{level}:2026-11-25 {_clock(at)},{rng.randrange(1000):03d}:app.{module}:{said}"


def _journal(rng: random.Random, at: int, said: str) -> str:
    return f"Nov 25 {_clock(at)} host{rng.randrange(9)} svc[{rng.randrange(9999)}]: {said}"


def _clock(at: int) -> str:
    return f"{at // 3600 % 24:02d}:{at // 60 % 60:02d}:{at % 60:02d}"


_FORMATS: Mapping[str, Callable[[random.Random, int, str], str]] = {
    "klog": _klog,
    "logfmt": _logfmt,
    "postgres": _postgres,
    "python": _python,
    "journal": _journal,
}


def made_up(seed: int = _SEED) -> dict[str, Sequence[Mapping[str, str]]]:
    """Per format 2,000 lines of 50 templates, twelve of them seen at most three times."""
    rng = random.Random(seed)
    return {name: _log(rng, form) for name, form in _FORMATS.items()}


def _log(
    rng: random.Random, form: Callable[[random.Random, int, str], str]
) -> list[Mapping[str, str]]:
    templates = [_template(rng) for _ in range(TEMPLATES)]
    rare = [at for at in range(_RARE) for _ in range(rng.randint(1, 3))]
    weights = [1 / (rank + 1) for rank in range(TEMPLATES - _RARE)]
    common = rng.choices(range(_RARE, TEMPLATES), weights, k=LINES - len(rare))
    events = [*rare, *common]
    rng.shuffle(events)
    return [
        {"line": form(rng, second * 7, templates[event](rng)), "event": str(event)}
        for second, event in enumerate(events)
    ]


def _template(rng: random.Random) -> Value:
    """A sentence with two to four values in fixed places."""
    parts: list[str | Value] = [rng.choice(_NOUNS), rng.choice(_VERBS)]
    for _ in range(rng.randint(2, 4)):
        parts += [rng.choice(_NOUNS), rng.choice(_VALUES)]
    if rng.random() < 0.2:
        parts += ["failed:", rng.choice(_NOUNS), rng.choice(_VERBS)]
    return lambda rng: " ".join(part if isinstance(part, str) else part(rng) for part in parts)

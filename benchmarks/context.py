"""Replays recorded runs through context policies: tokens, recall, and the bill.

    python benchmarks/context.py [--json] [--rows held-out] [--set livemcp] [--policy agentkit]

Recordings: $AGENTKIT_DATA/trajectories/*.jsonl.gz (default ../shared/data): whole runs of
LiveMCPBench (Apache-2.0, https://github.com/icip-cas/LiveMCPBench) and tau-bench (MIT,
https://github.com/sierra-research/tau-bench) in OpenAI's message shape.

Before each recorded model step the policy builds what it would send. A value (a string or number
of 4 characters or more in the arguments of the calls made at that step) that stands verbatim in the
uncompressed context counts as recalled where it stands in what is sent. Tokens are o200k's, by
OpenAI's published rules for a whole request, summarizer calls included; the bill is the input side
at claude-sonnet-4-5 and gpt-5.1 under their providers' cache rules, ten seconds a call, against
naive replay with caching. agentkit's bill has every missing value fetched back, each fetch a call
more; `tokens_ratio` and the recalls are without fetches, `tokens_ratio_fetching` and
`recall_fetching` with them. Every fourth row (index 3, 7, …) of each set is
held out: nobody looked at it while the pruners were improved.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._context_agentkit import Pruned, SmallWindow
from benchmarks._context_bill import Account, Provider
from benchmarks._context_policies import PEERS, Policy
from benchmarks._recordings import Copied, Recording, load, text_of
from benchmarks._transcript_edits import edited

SETS = ("livemcp", "tau_airline")
PROVIDERS: tuple[Provider, ...] = ("anthropic", "openai")
OURS = "agentkit"
SMALL = "agentkit-3000-tokens"
EDITED_TRANSCRIPTS = 500
# Of all rows of both sets, of which the data folder holds a part: tokens, recall, observed.
BASELINES = {
    "livemcp": {
        "mask-all": (0.252, 0.690, 0.563),
        "keep-last-3": (0.519, 0.929, 0.899),
        "truncate-1000": (0.568, 0.940, 0.915),
        "first-2-last-10": (0.534, 0.955, 0.946),
    },
    "tau_airline": {
        "mask-all": (0.757, 0.747, 0.629),
        "keep-last-3": (0.870, 0.891, 0.840),
        "truncate-1000": (0.962, 0.969, 0.955),
        "first-2-last-10": (0.803, 0.837, 0.793),
    },
}


@dataclass(kw_only=True)
class Replay:
    """One task under one policy."""

    account: Account = field(default_factory=Account)
    steps: int = 0
    values: int = 0
    recalled: int = 0
    observed: int = 0
    observed_recalled: int = 0
    fetches: int = 0
    rewrites: int = 0
    lost: list[Copied] = field(default_factory=list[Copied])
    build_seconds: float = 0.0


def replay(
    recording: Recording,
    policy: Policy,
    *,
    provider: Provider = "anthropic",
    fetching: bool = False,
) -> Replay:
    """Builds, charges and checks every step of a recording.

    agentkit knows which provider it sends to; the other policies do not ask.
    """
    found = Replay()
    session = Pruned(recording, provider) if policy is Pruned else policy(recording)
    for step in recording.steps:
        began = time.perf_counter()
        sent = session.build(recording.messages[:step])
        found.build_seconds += time.perf_counter() - began
        for request in sent.before:
            found.account.charge(request)
        found.steps += 1
        missing = _check(found, recording.copied[step], sent.messages)
        if fetching and isinstance(session, Pruned):
            _fetch(found, session, missing, provider)
            sent = session.build(recording.messages[:step])
        found.account.charge(sent.request)
        found.lost += missing
        if isinstance(session, Pruned):
            session.billed(found.account.last[provider], at=found.account.seconds)
    if isinstance(session, Pruned):
        found.rewrites = session.rewrites
    return found


def _check(found: Replay, values: Sequence[Copied], messages: Sequence[object]) -> list[Copied]:
    text = "\n".join(map(text_of, messages))  # type: ignore[arg-type]
    missing = [value for value in values if value.value not in text]
    observed = sum(value.observed for value in values)
    found.values += len(values)
    found.recalled += len(values) - len(missing)
    found.observed += observed
    found.observed_recalled += observed - sum(value.observed for value in missing)
    return missing


def _fetch(found: Replay, session: Pruned, missing: list[Copied], provider: Provider) -> None:
    """Pays for what can be brought back and takes it off the missing ones."""
    for value in list(missing):
        if not session.holds(value.value):
            requests = session.fetch(value)
            found.fetches += len(requests)
            for request in requests:
                found.account.charge(request)
                session.billed(found.account.last[provider], at=found.account.seconds)
        if session.holds(value.value):
            missing.remove(value)
            found.recalled += 1
            found.observed_recalled += value.observed


def measured(
    recordings: Sequence[Recording], policies: dict[str, Policy]
) -> dict[str, dict[str, float]]:
    """The figures of each policy over the recordings."""
    base = [replay(recording, PEERS["naive"]) for recording in recordings]
    found: dict[str, dict[str, float]] = {}
    for name, policy in policies.items():
        runs = [replay(recording, policy) for recording in recordings]
        figures = _ratios(runs, base)
        bills = dict.fromkeys(PROVIDERS, runs)
        if name == OURS:
            figures |= _worse(figures, _ratios(_ours(recordings, "openai"), base))
            bills = {p: _ours(recordings, p, fetching=True) for p in PROVIDERS}
            fetching = _worse(*(_ratios(paid, base) for paid in bills.values()))
            figures["tokens_ratio_fetching"] = fetching["tokens_ratio"]
            figures["recall_fetching"] = fetching["recall"]
        figures["rewrites"] = max(sum(run.rewrites for run in paid) for paid in bills.values())
        figures["fetches"] = max(sum(run.fetches for run in paid) for paid in bills.values())
        for provider, paid in bills.items():
            suffix = "" if provider == "anthropic" else "_openai"
            figures[f"bill_ratio{suffix}"] = _bill(paid, provider) / _bill(base, provider)
            figures[f"worst_task_bill_ratio{suffix}"] = max(
                _bill([run], provider) / _bill([naive], provider)
                for run, naive in zip(paid, base, strict=True)
            )
            figures[f"usd_a_task{suffix}"] = _bill(paid, provider) / len(paid) / 1e9
        figures["ms_per_step"] = (
            1000 * sum(run.build_seconds for run in runs) / sum(run.steps for run in runs)
        )
        figures["invalid_after_edits"] = invalid_after_edits(recordings, policy)
        figures["invalid_requests"] = sum(
            len(run.account.refusals) for run in chain(runs, *bills.values())
        )
        found[name] = figures
    return found


def _ours(
    recordings: Sequence[Recording], provider: Provider, *, fetching: bool = False
) -> list[Replay]:
    return [replay(row, Pruned, provider=provider, fetching=fetching) for row in recordings]


def _worse(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """Of two runs' figures, the higher share of tokens and the lower recalls."""
    return {
        name: (max if name == "tokens_ratio" else min)(figure, other[name])
        for name, figure in one.items()
    }


def invalid_after_edits(recordings: Sequence[Recording], policy: Policy) -> int:
    """How many of the requests that a policy builds of edited transcripts a provider refuses."""
    rng = random.Random(17)
    refused = 0
    for _ in range(EDITED_TRANSCRIPTS):
        recording = rng.choice(recordings)
        account = Account()
        account.charge(policy(recording).build(edited(recording.messages[:-1], rng)).request)
        refused += len(account.refusals)
    return refused


def _ratios(runs: Sequence[Replay], base: Sequence[Replay]) -> dict[str, float]:
    observed = sum(run.observed for run in runs)
    return {
        "tokens_ratio": sum(run.account.tokens for run in runs)
        / sum(run.account.tokens for run in base),
        "recall": sum(run.recalled for run in runs) / sum(run.values for run in runs),
        "obs_recall": sum(run.observed_recalled for run in runs) / observed,
    }


def _bill(runs: Sequence[Replay], provider: Provider) -> int:
    return sum(run.account.cost_nusd[provider] for run in runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rows", choices=("all", "development", "held-out"), default="all")
    parser.add_argument("--set", choices=SETS, action="append", help="only this set")
    parser.add_argument("--policy", action="append", help="only this policy")
    options = parser.parse_args()
    folder = Path(os.environ.get("AGENTKIT_DATA", "../shared/data"))
    if not (folder / "trajectories").is_dir():
        print(f"no trajectories in {folder}; set AGENTKIT_DATA (see --help)", file=sys.stderr)
        return 2
    policies: dict[str, Policy] = {OURS: Pruned, SMALL: SmallWindow, **PEERS}
    if options.policy:
        unknown = set(options.policy) - policies.keys()
        if unknown:
            print(
                f"no policy {', '.join(unknown)}; there are {', '.join(policies)}", file=sys.stderr
            )
            return 2
        policies = {name: policies[name] for name in options.policy}
    found = {
        name: measured(rows_of(load(folder, name), options.rows), policies)
        for name in options.set or SETS
    }
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    return 0


def rows_of(recordings: Sequence[Recording], part: str) -> list[Recording]:
    """All, those looked at while pruners were improved, or every fourth, which was not."""
    return [
        recording
        for at, recording in enumerate(recordings)
        if part == "all" or (at % 4 == 3) == (part == "held-out")
    ]


def show(found: dict[str, dict[str, dict[str, float]]]) -> None:
    for name, policies in found.items():
        names = list(next(iter(policies.values())))
        print(f"\n{name}")
        for policy, figures in policies.items():
            print(f"  {policy}")
            print("   ", ", ".join(f"{key} {figures[key]:.4g}" for key in figures))
            if known := BASELINES[name].get(policy):
                print(
                    "    published, all rows, characters/4: tokens {:.3f}, recall {:.3f}, "
                    "observed {:.3f}".format(*known)
                )
        del names


if __name__ == "__main__":
    sys.exit(main())

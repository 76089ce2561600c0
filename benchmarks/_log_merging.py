"""Log merging scored on logs that chose none of it: leave one file out, logs made up, drain3.

Each setting of `Merging` is chosen on all log files but one, where it recalls most events and, of
those, takes the fewest tokens; the one left out is scored. drain3 (https://github.com/logpai/Drain3)
runs beside it where it is installed.
"""

from __future__ import annotations

import importlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import product
from typing import Any

from agentkit.budgets.tokens import count_text
from agentkit.tools.prune import prune
from agentkit.tools.prune.log_lines import Merging, log_outline
from agentkit.tools.prune.outline import Ask, fit
from agentkit.tools.prune.pruned import Deadline
from agentkit.tools.prune.room import Room
from agentkit.tools.prune.terms import Terms
from benchmarks._made_up_logs import made_up

LOG_SHARE = 0.15
RARE = 3
_FOOTER_TOKENS = 32
_BLANKS = b"\t\r\f\v"
_GRID = [
    Merging(separators=separators + _BLANKS, max_word_bytes=most, likeness=likeness)
    for separators, most, likeness in product(
        (b"", b"=,;()[]{}", b"=,;:()[]{}\"'<>|/@#"), (20, 40, 80), (0.3, 0.4, 0.5, 0.6)
    )
]
_DRAIN_MASKS = (
    (r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "IP"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9a-f]{6,} ?){3,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)(0x[a-f0-9A-F]+)((?=[^A-Za-z0-9])|$)", "HEX"),
    (r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "NUM"),
)
"""Those of drain3's own example."""

Row = Mapping[str, str]
Shorten = Callable[[str, int], str]


@dataclass(frozen=True, kw_only=True)
class LogScore:
    """Of one log: the share of tokens kept, recall of events, and of those seen 3 times at most."""

    tokens_ratio: float
    recall: float
    rare_recall: float
    events: int
    rare_events: int


def score(rows: Sequence[Row], shorten: Shorten) -> LogScore:
    """A log in 15 % of its tokens; an event is recalled where a line of it stands whole."""
    text = "\n".join(row["line"] for row in rows)
    tokens = count_text(text)
    pruned = shorten(text, int(tokens * LOG_SHARE))
    shown = set(pruned.split("\n"))
    shown |= {line.split(" ", 1)[1] for line in shown if line.startswith("×")}
    events = Counter(row["event"] for row in rows)
    kept = {row["event"] for row in rows if row["line"].rstrip() in shown}
    rare = {event for event, count in events.items() if count <= RARE}
    return LogScore(
        tokens_ratio=count_text(pruned) / tokens,
        recall=len(kept) / len(events),
        rare_recall=len(kept & rare) / len(rare) if rare else 1.0,
        events=len(events),
        rare_events=len(rare),
    )


def pruned(text: str, max_tokens: int) -> str:
    """As an agent prunes it."""
    return prune(text, max_tokens=max_tokens).text


def merged(merging: Merging) -> Shorten:
    """With other settings than the pruner's own."""

    def shorten(text: str, max_tokens: int) -> str:
        room = Room(limit=max_tokens - _FOOTER_TOKENS, unit="tokens")
        ask = Ask(terms=Terms.of(""), room=room, deadline=Deadline(60))
        return fit(log_outline(text, ask, merging), room, ask.deadline).text

    return shorten


def drain(text: str, max_tokens: int) -> str:
    """A whole line of each of drain3's clusters with its count, rare ones first, while they fit."""
    miner = _miner()
    firsts: dict[int, str] = {}
    counts: Counter[int] = Counter()
    for line in text.split("\n"):
        cluster = miner.add_log_message(line)["cluster_id"]
        firsts.setdefault(cluster, line)
        counts[cluster] += 1
    left, kept = max_tokens, list[str]()
    for cluster, count in sorted(counts.items(), key=lambda item: item[1]):
        shown = f"×{count} {firsts[cluster]}" if count > 1 else firsts[cluster]
        cost = count_text(shown) + 1
        if cost <= left:
            left -= cost
            kept.append(shown)
    return "\n".join(kept)


def _miner() -> Any:
    """drain3 as its README sets it up; it has no types."""
    config = importlib.import_module("drain3.template_miner_config").TemplateMinerConfig()
    mask = importlib.import_module("drain3.masking").MaskingInstruction
    config.masking_instructions = [mask(pattern, name) for pattern, name in _DRAIN_MASKS]
    return importlib.import_module("drain3").TemplateMiner(config=config)


def held_out(logs: Mapping[str, Sequence[Row]]) -> dict[str, object]:
    """Scores on logs that did not choose the settings."""
    by_setting = {
        setting: {name: score(rows, merged(setting)) for name, rows in logs.items()}
        for setting in _GRID
    }
    left_out: dict[str, dict[str, Any]] = {}
    for name in logs:
        best = max(_GRID, key=lambda setting: _rank(by_setting[setting], name))
        found: dict[str, Any] = asdict(by_setting[best][name])
        chosen = asdict(best) | {"separators": best.separators.decode().strip()}
        left_out[name] = found | {"chosen_on_the_others": chosen}
    fresh = made_up()
    result: dict[str, object] = {
        "leave_one_file_out": left_out,
        "leave_one_file_out_mean": _means(list(left_out.values())),
        "made_up": {name: asdict(score(rows, pruned)) for name, rows in fresh.items()},
    }
    result["made_up_mean"] = _means([asdict(score(rows, pruned)) for rows in fresh.values()])
    if find_spec("drain3") is not None:
        peers: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for kind, each in (("files", logs), ("made_up", fresh)):
            peers[kind] = [asdict(score(rows, drain)) for rows in each.values()]
        result["drain3"] = {kind: _means(scores) for kind, scores in peers.items()}
    return result


def _rank(scores: Mapping[str, LogScore], left_out: str) -> tuple[float, float]:
    others = [found for name, found in scores.items() if name != left_out]
    recall = statistics.fmean(found.recall + found.rare_recall for found in others)
    return round(recall, 3), -statistics.fmean(found.tokens_ratio for found in others)


def _means(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = ("tokens_ratio", "recall", "rare_recall")
    means = {name: statistics.fmean(found[name] for found in scores) for name in names}
    worst = {f"worst_{name}": min(found[name] for found in scores) for name in names[1:]}
    return means | worst | {"most_tokens_ratio": max(found["tokens_ratio"] for found in scores)}

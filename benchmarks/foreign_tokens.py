"""How far our token counts are from the encoding of another maker, by language.

    python benchmarks/foreign_tokens.py [--json]

One sentence in each of 27 languages, and code, data and signs, are counted by Claude 2's encoding
(65,000 tokens; the last that Anthropic published, in the package `anthropic` 0.21.0), by o200k and
by `count_foreign`, which is what requests to models of other makers are counted with. `ratio` is
how many tokens there are for each that we count: the margin of a reservation has to cover it.

Fetches that package and `tokenizers` once, into a cache folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from _minilm import cache_folder

from agentkit.budgets.margin import TokenMargins
from agentkit.budgets.tokens import count_foreign, count_text

_PACKAGES = ("anthropic==0.21.0", "tokenizers==0.22.1")
_TEXTS = Path(__file__).with_name("foreign_texts.json")


def main() -> None:
    """Print the ratios as a table, or as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = {"texts": measured(), "margin": TokenMargins().factor(model="", provider="anthropic")}
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{'':12}{'theirs':>8}{'o200k':>8}{'ratio':>8}{'ours':>8}{'ratio':>8}")
    for name, row in report["texts"].items():
        print(
            f"{name:12}{row['theirs']:8}{row['o200k']:8}{row['o200k_ratio']:8.2f}"
            f"{row['ours']:8}{row['ratio']:8.2f}"
        )
    print(f"the margin for Anthropic's models covers ratios up to {report['margin']}")


def measured() -> dict[str, dict[str, Any]]:
    """Each text's counts, the highest ratio first."""
    encoding = _encoding()
    rows: dict[str, dict[str, Any]] = {}
    for name, text in json.loads(_TEXTS.read_text(encoding="utf-8")).items():
        theirs = len(encoding.encode(text, add_special_tokens=False).ids)
        o200k, ours = count_text(text), count_foreign(text)
        rows[name] = {
            "theirs": theirs,
            "o200k": o200k,
            "o200k_ratio": round(theirs / o200k, 2),
            "ours": ours,
            "ratio": round(theirs / ours, 2),
        }
    return dict(sorted(rows.items(), key=lambda each: -each[1]["ratio"]))


def _encoding() -> Any:
    """The published encoding, fetched when it is not there yet."""
    target = cache_folder() / "claude-2"
    file = target / "anthropic" / "tokenizer.json"
    if not file.exists():
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", str(target), *_PACKAGES], check=True)
    sys.path.append(str(target))
    from tokenizers import Tokenizer  # fetched above

    return Tokenizer.from_file(str(file))


if __name__ == "__main__":
    main()

"""How often the pocket model is right, how far its confidence can be trusted, and what it costs.

Calls are scored on SNIPS validation rows. Confidence is scored on a stream of seven parts of these
and three parts of CLINC150's out-of-scope test rows, which no tool fits: floors of the summed
log-probability are chosen on one random half and scored on the other, 100 times, and the tier above
is taken to be always right. SNIPS train, CLINC150 train and SLURP devel trained the model; none of
the rows here did. `unseen_exact_call` is on tools that it was never trained on; it refuses them.

    python benchmarks/pocket.py [--json] [--folder build/pocket] [--kind q8_0 ...]

The file in the package is measured, with its f16 and q4_k_m where `make pocket` left them in the
folder; where not, they are made from the q8_0 weights, and `made_from` says so. Each is measured in
a process of its own: `rss_mb` is what memory grew by from before the model was loaded, with
llama.cpp itself. Needs the data folder named by AGENTKIT_DATA (by default ../shared/data).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _pocket import (
    call_figures,
    floor_figures,
    refusal_rows,
    score,
    share,
    snips_rows,
    stream_figures,
    unseen_exact,
)

from agentkit.models.local import LocalChatModel, local_model
from agentkit.models.local.gguf_check import check_gguf
from agentkit.models.local.pocket import MOST_OUTPUT_TOKENS

_KINDS = ("f16", "q8_0", "q4_k_m")
_SHIPPED = "q8_0"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--folder", type=Path, default=Path("build/pocket"))
    parser.add_argument("--kind", action="append", choices=_KINDS, help="only this; repeatable")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file is not None:
        print(json.dumps(_measured(arguments.file)))
        return
    report = _report(arguments.folder, arguments.kind or _KINDS)
    print(json.dumps(report, indent=2)) if arguments.json else _print(report)


def _report(folder: Path, kinds: list[str] | tuple[str, ...]) -> dict[str, Any]:
    shipped = Path(local_model("pocket").model_path)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in kinds:
            built = folder / f"pocket-{kind}.gguf"
            made_from = "training"
            if kind == _SHIPPED:
                built, made_from = shipped, "the package"
            elif not built.exists():
                built = _requantized(shipped, Path(scratch) / f"pocket-{kind}.gguf", kind)
                made_from = _SHIPPED
            print(f"measuring {kind}", file=sys.stderr, flush=True)
            done = subprocess.run(
                [sys.executable, __file__, "--file", str(built)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            report[kind] = {**json.loads(done.stdout), "made_from": made_from}
    return report


def _measured(path: Path) -> dict[str, Any]:
    before = _rss_mb()
    model = LocalChatModel(model_path=str(path), max_tokens=MOST_OUTPUT_TOKENS)
    calls = score(model, snips_rows())
    rss = _rss_mb() - before
    stream = [*calls, *score(model, refusal_rows("clinc150_oos_test", len(calls) * 3 // 7))]
    floor = check_gguf(str(path)).sum_floor
    seconds = sum(item.milliseconds for item in stream) / 1000
    return {
        **call_figures(calls),
        **stream_figures(stream),
        "shipped_floor": None if floor is None else floor_figures(stream, floor),
        "refused": {
            source: share([item.exact for item in score(model, refusal_rows(source, 200))])
            for source in ("clinc150_oos_test", "clinc150_test", "slurp_test")
        },
        **unseen_exact(model),
        "tokens_s": round(sum(item.output_tokens for item in stream) / seconds),
        "ms_per_call": round(statistics.median(item.milliseconds for item in calls), 2),
        "ms_per_refusal": round(
            statistics.median(item.milliseconds for item in stream[len(calls) :]), 2
        ),
        "file_mb": round(path.stat().st_size / 1e6, 2),
        "rss_mb": round(rss, 1),
    }


def _requantized(source: Path, target: Path, kind: str) -> Path:
    """`source` in another quantization. What its own rounding lost stays lost."""
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = {
        "f16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
        "q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    }[kind]
    settings.allow_requantize = True
    status = llama_cpp.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), ctypes.byref(settings)
    )
    if status != 0:
        raise SystemExit(f"llama.cpp could not write {target} from {source}: status {status}")
    return target


def _rss_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # the peak, in bytes on macOS


def _print(report: dict[str, Any]) -> None:
    flat = {
        kind: {name: value for name, value in figures.items() if not isinstance(value, dict)}
        for kind, figures in report.items()
    }
    kinds = list(flat)
    print(f"{'':28}" + "".join(f"{kind:>12}" for kind in kinds))
    for name in flat[kinds[0]]:
        print(f"{name:28}" + "".join(f"{flat[kind][name]!s:>12}" for kind in kinds))
    for kind, figures in report.items():
        for name in ("shipped_floor", "refused", "calibrated"):
            print(f"{kind} {name}: {figures.get(name)}")


if __name__ == "__main__":
    main()

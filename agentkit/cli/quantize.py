"""`agentkit models quantize`: smaller files of one model, and what is lost by them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.screen import cell, console, emit, note, one_line, say
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.evals.quantization import FileFigures
    from agentkit.models.local.quantize import QuantizedFile

_MB = 1_000_000


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL.gguf", help="In f16, f32 or bf16.")],
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="FORMAT", help="q8_0, q6_k, q5_k_m, q4_k_m … Repeatable."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Default: beside MODEL.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    requantize: Annotated[
        bool, typer.Option("--requantize", help="Also from a file that is quantized already.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(metavar="CASES.jsonl", help="Try MODEL and every file on these cases."),
    ] = None,
    grader: Annotated[
        str | None, typer.Option(metavar="GRADER", help="As of `agentkit eval`.")
    ] = None,
    first: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N cases.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Quantize a model by llama.cpp; with --check, tell what each file loses, by kind of failure.

    Nothing is written over without --force. Figures of speed and memory are of this machine.
    """
    from agentkit.models.local.quantize import quantize as make
    from agentkit.models.local.quantize import target_of

    kinds = [kind.lower() for kind in to or ()]
    if not kinds and check is None:
        raise ConfigError("say into which format: --to q4_k_m (or --check CASES.jsonl alone)")
    made: list[QuantizedFile] = []
    for kind in kinds:
        target = target_of(model, kind, folder)
        done = make(model, target, kind, force=force, requantize=requantize)
        made.append(done)
        if not json:
            types = ", ".join(f"{count} {name}" for name, count in done.tensors.items())
            saved = 1 - done.size_bytes / done.source_bytes
            say(f"local:{done.path}  {done.size_bytes / _MB:.1f} MB, {saved:.0%} less ({types})")
    figures: list[FileFigures] = []
    if check is not None:
        from agentkit.evals.quantization import check_files

        files = [model, *(each.path for each in made)]
        figures = check_files(
            files, check, grader=grader, first=first, on_file=None if json else _told
        )
    if json:
        emit({"files": [each.to_dict() for each in made], "check": [f.to_dict() for f in figures]})
    elif figures:
        _show(figures)
    return 0


def _told(path: Path) -> None:
    note(f"trying {one_line(str(path))}")


def _show(figures: list[FileFigures]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(
        ("file", "MB", "memory MB", "passed", "95 %", "lost", "won", "p", "tokens/s", "ms a case")
    ):
        table.add_column(heading, justify="right" if place else "left", no_wrap=place > 0)
    for each in figures:
        change = each.change
        changed = ("-", "-", "-") if change is None else (
            f"{len(change.newly_wrong)}", f"{len(change.newly_right)}", f"{change.p_value:.2g}"
        )  # fmt: skip
        row = (
            Path(each.path).name, f"{each.file_bytes / _MB:.1f}", f"{each.memory_bytes / _MB:.1f}",
            f"{each.quality:.1%}", f"{each.quality_low:.1%}–{each.quality_high:.1%}", *changed,
            f"{each.tokens_per_second:.0f}", f"{each.median_ms:.0f}",
        )  # fmt: skip
        table.add_row(*map(cell, row))
    console().print(table)
    for each in figures:
        if each.failures:
            told = ", ".join(f"{count} {kind}" for kind, count in each.failures.items())
            say(f"{one_line(Path(each.path).name)}: {told}")

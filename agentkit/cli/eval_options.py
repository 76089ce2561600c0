"""The options of `agentkit eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Cases = Annotated[Path, typer.Argument(metavar="CASES.jsonl", help="One case a line.")]
Grader = Annotated[
    str | None,
    typer.Option(
        metavar="GRADER",
        help="For cases without one: exact, json, json:subset, regex, numeric:0.01, "
        "similar:0.8, call, judge, or module:function.",
    ),
]
Judge = Annotated[
    str | None, typer.Option(metavar="MODEL", help="The model behind the grader 'judge'.")
]
Criteria = Annotated[str | None, typer.Option(metavar="TEXT", help="What the judge goes by.")]
Embedding = Annotated[
    str | None, typer.Option(metavar="local:FILE.gguf", help="For 'similar'. Default: shipped.")
]
TrustCases = Annotated[
    bool, typer.Option("--trust-cases", help="Let cases name module:function as grader.")
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Of the runs. Default: the file's.")]
First = Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N cases.")]
CascadeToo = Annotated[
    bool, typer.Option("--cascade/--no-cascade", help="Try the models together, too.")
]
Parallel = Annotated[
    int, typer.Option("--parallel", "-j", metavar="N", min=1, max=64, help="Cases at once.")
]
RunUsd = Annotated[
    str | None,
    typer.Option(
        "--budget-usd", metavar="USD", help="For the whole run. Default: 1 where it may cost."
    ),
]
CaseUsd = Annotated[
    str | None, typer.Option(metavar="USD", help="For each case, over the project file's.")
]
CaseCalls = Annotated[int | None, typer.Option(metavar="N", help="Model calls for each case.")]
CaseSeconds = Annotated[float | None, typer.Option(metavar="S", help="Seconds for each case.")]
Quality = Annotated[
    float, typer.Option(metavar="SHARE", help="What the cheapest setting must reach.")
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Of `agentkit calibrate`: judges the cascade's answers."),
]
FailUnder = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Exit with 1 where --setting passes fewer."),
]
SettingName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="For --fail-under: a model, or cascade (default)."),
]
Compare = Annotated[
    str | None,
    typer.Option(metavar="last|N|FILE", help="Beside an earlier run, or a report's JSON."),
]
Page = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the report as one page, too.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Begin anew where a run was cut off.")]
ResultsFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Default: .agentkit/evals/NAME.db."),
]

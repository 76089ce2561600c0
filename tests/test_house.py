"""The house rules that no linter knows: packages, links, public names, the lock, import times."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = {".py", ".xz", ".gguf", ".lua", ".npz", ".json"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
LINKED = ("budgets", "memory", "tools")
PUBLIC = ("agentkit", "agentkit.budgets", "agentkit.memory", "agentkit.routing", "agentkit.tools")


def _packages_on_disk() -> set[str]:
    found: set[str] = set()
    for package, folder in FOLDERS.items():
        for parent, folders, files in os.walk(ROOT / folder):
            folders[:] = [name for name in folders if not (Path(parent) / name).is_symlink()]
            if "__init__.py" in files:
                inner = Path(parent).relative_to(ROOT / folder).parts
                found.add(".".join((package, *inner)))
    return found


def test_every_package_on_disk_is_listed() -> None:
    assert set(PACKAGES) == _packages_on_disk()
    assert len(PACKAGES) == len(set(PACKAGES))


@pytest.mark.parametrize("name", LINKED)
def test_link_leads_to_the_folder_at_the_root(name: str) -> None:
    link = ROOT / "agentkit" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


@pytest.mark.parametrize("name", LINKED)
def test_folder_at_the_root_is_imported_as_part_of_agentkit(name: str) -> None:
    origin = importlib.import_module(f"agentkit.{name}").__file__
    assert origin is not None
    assert Path(origin).resolve() == ROOT / name / "__init__.py"


def test_type_checkers_are_pointed_at_every_link() -> None:
    expected = {"agentkit", *(f"agentkit/{name}" for name in LINKED)}
    assert expected <= set(PROJECT["tool"]["pyright"]["include"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that no stale build folder can slip in."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in FOLDERS.values():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=ignored)
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, target, source], check=True, capture_output=True, timeout=100)
    (built,) = target.glob("*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_one_top_level_package(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"agentkit"}


def test_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    expected = {
        ".".join((package, *path.relative_to(ROOT / folder).parts[:-1])).replace(".", "/")
        + f"/{path.name}"
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SHIPPED or path.name in {"py.typed", "NOTICE"}
        if not any(parent.is_symlink() for parent in path.parents if parent != ROOT)
    }
    assert expected <= set(wheel.namelist())
    assert "agentkit/budgets/rank_tables/o200k_base.xz" in expected


def test_wheel_is_small_enough_to_ship(wheel: zipfile.ZipFile) -> None:
    assert sum(entry.compress_size for entry in wheel.infolist()) < 10_000_000


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_what_can_be_seen(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", None)
    if package in PUBLIC:
        assert names, f"{package} lists no public names"
    if names is None:
        return
    assert list(names) == sorted(set(names))
    for name in names:
        assert getattr(module, name) is not None
    if package in PUBLIC:
        assert set(names) == _visible(module)


def _visible(module: ModuleType) -> set[str]:
    """Names without an underscore that are not submodules; a lazy package says so in `__dir__`."""
    return {
        name
        for name in dir(module)
        if not name.startswith("_") and not isinstance(getattr(module, name), ModuleType)
        if not (name == "annotations" or hasattr(getattr(module, name), "compiler_flag"))
    }


def test_lock_pins_every_package_by_hash() -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text())
    pinned = [entry for entry in entries if "==" in entry]
    assert len(pinned) > 50
    for entry in pinned:
        assert re.match(r"(?s)[\w.-]+==[\w.]+ .*--hash=sha256:[0-9a-f]{64}", entry), entry


def test_lock_names_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
    assert not re.search(r"\b[\w-]+\.(?:org|com|io|net|dev|internal)\b", text)


def test_no_package_lies_in_the_tree() -> None:
    """As `pip download` leaves them, for the next commit to take along."""
    archives = ("*.whl", "*.tar.gz", "*.zip", "*.egg")
    assert not [each.name for pattern in archives for each in ROOT.glob(pattern)]


def test_readme_is_short_and_shows_python_early() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) < 600
    first = next((n for n, line in enumerate(text.splitlines(), 1) if line == "```python"), None)
    assert first is not None
    assert first <= 40


def _seconds(*command: str | Path) -> float:
    """Processor time of the shortest of several runs, once the byte code is there.

    Not the wall's: other work of the machine must not count.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    runs: list[float] = []
    for _ in range(8):
        began = _spent_by_children()
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60)
        runs.append(_spent_by_children() - began)
    return min(runs[1:])


def _spent_by_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def test_import_takes_at_most_150_ms() -> None:
    bare = _seconds(sys.executable, "-c", "pass")
    assert _seconds(sys.executable, "-c", "import agentkit") - bare <= 0.150


def test_help_takes_at_most_400_ms() -> None:
    assert _seconds(Path(sys.executable).parent / "agentkit", "--help") <= 0.400


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import agentkit", "langgraph langchain_core openai anthropic numpy llama_cpp tiktoken"),
        (
            "import agentkit.budgets",
            "langgraph langchain_core langchain_openai numpy opentelemetry",
        ),
        ("import agentkit.budgets.tokens", "tiktoken"),
        ("import agentkit.memory", "langgraph"),
        ("import agentkit.tools", "langgraph"),
    ],
)
def test_import_loads_no_heavy_package(statement: str, absent: str) -> None:
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules.keys() & set({absent.split()!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr

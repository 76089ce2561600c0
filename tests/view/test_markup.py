"""The page is one document: its modules join, and nothing in it comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from pathlib import Path

from agentkit.view import markup
from agentkit.view.markup import MODULES, page_file, script_of, served_page

STATIC = Path(markup.__file__).parent / "static"
_DEFINED = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
_IMPORTED = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)


def test_no_two_modules_define_the_same_name() -> None:
    """They become one scope."""
    for source in ("source_served", "source_file"):
        counts = Counter(_DEFINED.findall(script_of(source)))
        assert [name for name, times in counts.items() if times > 1] == []


def test_every_module_is_joined_after_those_it_imports_from() -> None:
    order = [*MODULES, "source_served"]
    assert {path.stem for path in STATIC.glob("*.js")} == {*order, "source_file"}
    for name in order:
        text = (STATIC / f"{name}.js").read_text()
        assert text.count("\nimport ") + text.startswith("import ") == len(_IMPORTED.findall(text))
        for names, other in _IMPORTED.findall(text):
            exported = (STATIC / f"{other}.js").read_text()
            for each in names.split(","):
                assert re.search(rf"^export .*\b{each.strip()}\b", exported, re.MULTILINE), each
    assert "import " not in re.sub(r"//.*", "", script_of("source_file"))


def test_nothing_is_fetched_from_elsewhere() -> None:
    page = page_file({})
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|\bsrc=", page)


def test_text_never_becomes_markup() -> None:
    script = script_of("source_served") + script_of("source_file")
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert way not in script


def test_the_policy_of_a_file_names_its_own_script_and_style() -> None:
    page = page_file({"book-data": b"x"})
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for tag in ("script", "style"):
        (text,) = re.findall(rf'<{tag}(?: type="module")? nonce="">(.*?)</{tag}>', page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert "connect-src" not in policy[1]


def test_each_page_has_a_nonce_of_its_own() -> None:
    page, policy = served_page("abc")
    assert policy.count("'nonce-abc'") == 2
    assert page.count('nonce="abc"') == 2
    assert "unsafe" not in policy

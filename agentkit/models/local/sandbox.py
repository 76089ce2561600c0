"""Chat templates come with model files, so they are untrusted: rendered in a jinja2 sandbox whose
loops, texts and time are bounded.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from agentkit.errors import ExtraMissing
from agentkit.models.local.errors import ChatTemplateInvalid
from agentkit.models.local.json_value import as_list, as_object

if TYPE_CHECKING:
    from jinja2 import nodes

_MOST_CHARACTERS = 64_000_000
_MOST_STEPS = 500_000
_LONGEST_SECONDS = 5.0
_LONGEST_LIST = 1_000_000
_LARGEST_BITS = 256
_TOLD_CHARACTERS = 200
_GROWING_METHODS = frozenset(
    "center ljust rjust zfill expandtabs format format_map translate".split()
)
_KEPT_FILTERS = frozenset(
    "abs attr bool capitalize count d default dictsort e escape first float int items last length "
    "list lower map max min reject rejectattr reverse round safe select selectattr sort title trim "
    "unique upper".split()
)
_TRAINING_MARKS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


class TemplateTooMuch(Exception):
    """A template does more than a chat template needs to."""


class ChatTemplate:
    """A compiled template; `variables` are the names that it expects from outside.

    Raises ChatTemplateInvalid where the source cannot be read.
    """

    def __init__(self, source: str) -> None:
        try:
            from jinja2 import meta
        except ImportError as error:
            raise ExtraMissing(what="a local model", extra="local") from error
        environment = _environment()
        try:
            tree = environment.parse(_TRAINING_MARKS.sub("", source))
            self.variables = frozenset(meta.find_undeclared_variables(tree))
            step, concat = f"step_{secrets.token_hex(8)}", f"concat_{secrets.token_hex(8)}"
            self._hidden: dict[str, Any] = {step: _step, concat: _concat}
            self._template: Any = environment.from_string(_metered(tree, step, concat))
        except Exception as error:  # jinja2 raises whatever its parts raise on broken sources
            raise ChatTemplateInvalid(
                f"the chat template of the model cannot be read ({_told(error)}); "
                "use another GGUF file of this model"
            ) from error

    def render(self, variables: Mapping[str, Any]) -> str:
        """The prompt. Raises ChatTemplateInvalid with what the template itself says is wrong."""
        token = _meter.set(_Meter())
        try:
            pieces: list[str] = list(self._template.generate({**variables, **self._hidden}))
            return "".join(pieces)
        except Exception as error:  # a template can raise whatever its author wishes
            raise ChatTemplateInvalid(
                f"the chat template of the model refuses these messages ({_told(error)})"
            ) from error
        finally:
            _meter.reset(token)


class _Meter:
    """Counts what one rendering does."""

    def __init__(self) -> None:
        self._steps = 0
        self._characters = 0
        self._deadline = time.monotonic() + _LONGEST_SECONDS

    def step(self, characters: int) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS or time.monotonic() > self._deadline:
            raise TemplateTooMuch("it does not come to an end")
        self.write(characters)

    def write(self, characters: int) -> None:
        self._characters += characters
        if self._characters > _MOST_CHARACTERS:
            raise TemplateTooMuch("it makes a text that is too long")


_meter: ContextVar[_Meter] = ContextVar("agentkit_template_meter")


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "*", "**", "%"})

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            if isinstance(obj, str) and attr in _GROWING_METHODS:
                return False
            return super().is_safe_attribute(obj, attr, value)

        def wrap_str_format(self, value: Any) -> None:
            return None

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _require_small(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
            method = _text_method(__obj)
            if method is not None:
                return method(*args, **kwargs)
            return super().call(__context, __obj, *args, **kwargs)

    environment: Any = Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        finalize=_text,
        extensions=["jinja2.ext.loopcontrols"],
    )
    filters = {name: f for name, f in environment.filters.items() if name in _KEPT_FILTERS}
    environment.filters = {
        **filters, "tojson": _to_json, "string": _text, "join": _join, "replace": _replace,
    }  # fmt: skip
    environment.globals.pop("lipsum", None)
    environment.globals.update(raise_exception=_raise, strftime_now=_now)
    return environment


def _metered(tree: nodes.Template, step: str, concat: str) -> nodes.Template:
    """The template with a step counted in every loop and macro, and every `~` bounded."""
    from jinja2 import nodes

    repeated: list[Any] = list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)))
    for node in repeated:
        constant = sum(len(part.data) for part in node.find_all(nodes.TemplateData))
        call = nodes.Call(nodes.Name(step, "load"), [nodes.Const(constant)], [], None, None)
        node.body.insert(0, nodes.Output([call]))
    _replace_concats(tree, concat)
    tree.set_lineno(1)
    if tree.environment is not None:
        tree.set_environment(tree.environment)
    return tree


def _replace_concats(node: nodes.Node, concat: str) -> None:
    from jinja2 import nodes

    for name, value in list(node.iter_fields()):
        listed = as_list(value)
        if listed is not None:
            items = [_without_concat(item, concat) for item in listed]
            setattr(node, name, items)
        elif isinstance(value, nodes.Node):
            setattr(node, name, _without_concat(value, concat))


def _without_concat(item: Any, concat: str) -> Any:
    from jinja2 import nodes

    if not isinstance(item, nodes.Node):
        return item
    _replace_concats(item, concat)
    if isinstance(item, nodes.Concat):
        return nodes.Call(nodes.Name(concat, "load"), item.nodes, [], None, None)
    return item


def _step(characters: int) -> str:
    _meter.get().step(characters)
    return ""


def _concat(*parts: Any) -> str:
    return "".join(map(_text, parts))


def _text(value: Any) -> str:
    """`str(value)`, counted; lists and objects are measured before they are written out."""
    if as_list(value) is not None or as_object(value) is not None:
        _to_json(value)
    text = str(value)
    _meter.get().write(len(text))
    return text


def _to_json(value: Any, ensure_ascii: bool = False, indent: Any = None, **options: Any) -> str:
    """JSON as the templates' authors know it, without the HTML escapes of jinja2's own filter."""
    kept = {key: options[key] for key in ("separators", "sort_keys") if key in options}
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=_small_indent(indent), default=str, **kept
    )
    pieces: list[str] = []
    meter = _meter.get()
    for index, piece in enumerate(encoder.iterencode(value)):
        meter.write(len(piece))
        if index % 1024 == 0:
            meter.step(0)
        pieces.append(piece)
    return "".join(pieces)


def _small_indent(indent: Any) -> int | None:
    return min(int(indent), 16) if indent is not None else None


def _join(values: Iterable[Any], separator: str = "", attribute: Any = None) -> str:
    items = list(values)
    if attribute is not None:
        raise TemplateTooMuch("join by attribute is not supported")
    _meter.get().write(len(separator) * len(items))
    return separator.join(map(_text, items))


def _replace(text: Any, old: str, new: str, count: int = -1) -> str:
    source = _text(text)
    found = source.count(old) if count < 0 else min(count, source.count(old))
    _meter.get().write(found * max(0, len(new) - len(old)))
    return source.replace(old, new, count)


def _text_method(called: Any) -> Callable[..., Any] | None:
    """A bounded stand-in for a method of str that could make very long texts."""
    owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
    if not isinstance(owner, str):
        return None
    if name == "join":
        return partial(_join, separator=owner)
    if name == "replace":
        return partial(_replace, owner)
    return None


def _require_small(operator: str, left: Any, right: Any) -> None:
    meter = _meter.get()
    sizes = [size for side in (left, right) if (size := _size(side)) is not None]
    if operator == "+":
        meter.write(sum(sizes))
    elif operator == "%" and isinstance(left, str):
        raise TemplateTooMuch("text formatting with % is not for chat templates")
    elif operator == "*" and sizes:
        times = next((side for side in (left, right) if isinstance(side, int)), 1)
        if sizes[0] * times > _LONGEST_LIST:
            raise TemplateTooMuch("it repeats a text too often")
        meter.write(max(0, sizes[0] * times))
    elif operator in ("*", "**"):
        bits = [side.bit_length() for side in (left, right) if isinstance(side, int)]
        exponent = right if operator == "**" and isinstance(right, int) else 1
        if sum(bits) * max(1, exponent) > _LARGEST_BITS:
            raise TemplateTooMuch("it computes too large a number")


def _size(value: object) -> int | None:
    if isinstance(value, str):
        return len(value)
    listed = as_list(value)
    return None if listed is None else len(listed)


def _raise(message: object = "") -> None:
    raise ValueError(str(message))


def _now(format: str = "%Y-%m-%d") -> str:
    return datetime.now().astimezone().strftime(format[:64])


def _told(error: Exception) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(error)) or type(error).__name__
    return text[:_TOLD_CHARACTERS]

"""Chat templates from model files: they render like elsewhere, and cannot break out or run away."""

from __future__ import annotations

import time

import pytest

from agentkit.models.local import ChatTemplateInvalid, sandbox
from agentkit.models.local.sandbox import ChatTemplate

MESSAGES = [{"role": "user", "content": "hé <b>"}, {"role": "assistant", "content": "ok"}]


def rendered(source: str, **variables: object) -> str:
    return ChatTemplate(source).render({"messages": MESSAGES, **variables})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}[{{ m.role }}]{{ m['content'] }}{% endfor %}", None),
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "hé <b>"}'),
        ("{{ {'a': [true]} | tojson(indent=2) }}", '{\n  "a": [\n    true\n  ]\n}'),
        ("{{ 'a' ~ 1 ~ none }}{{ 'x' + 'y' }}{{ 3 * 4 }}{{ 7 % 4 }}", "a1Nonexy123"),
        ("{{ ['a', 'b'] | join('-') }}{{ '-'.join(['c', 'd']) }}", "a-bc-d"),
        ("{{ ' a b ' | trim | replace('a', 'c') | upper }}", "C B"),
        ("{{ 'x</think>y'.split('</think>')[-1] }}", "y"),
        ("{% set s = namespace() %}{% for m in 'a' %}{% set s.n = 1 %}{% endfor %}{{ s.n }}", "1"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(1) }}{{ f(2) }}", "<1><2>"),
        ("{% generation %}{{ messages[1].content }}{% endgeneration %}", "ok"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{% if tools is defined and tools %}t{% else %}-{% endif %}", "-"),
    ],
)  # fmt: skip
def test_templates_render_as_their_authors_expect(source: str, text: str | None) -> None:
    assert rendered(source) == (text if text is not None else "[user]hé <b>[assistant]ok")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ (messages | attr('__class__')).mro() }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ tojson.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% set x = messages.append(1) %}",
        "{{ messages[0].update({'role': 'system'}) }}",
        "{{ '{0.__class__}'.format(1) }}",
    ],
)
def test_templates_cannot_reach_out_of_the_sandbox(source: str) -> None:
    with pytest.raises(ChatTemplateInvalid):
        rendered(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**10 }}",
        "{{ 9**9**9**9 }}",
        "{% set n = 99 %}" + "{% set n = n * n %}" * 60 + "{{ n }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set a = 'aaaaaaaaaaaaaaaaaaaaa' %}" + "{% set a = a ~ a %}" * 60,
        "{% set a = 'aaaaaaaaaaaaaaaaaaaaa' %}" + "{% set a = a + a %}" * 60,
        "{% set a = 'aaaaaaaaaaaaaaaaaaaaa' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60,
        "{% set a = ['a'] %}" + "{% set a = a + a %}" * 60,
        "{{ ('a' * 900000).replace('a', 'a' * 900000) }}",
        "{{ ('a' * 900000) | replace('a', 'a' * 900000) }}",
        "{{ range(99999) | join('a' * 900000) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ 'a'.center(999999999) }}",
        "{{ 'a' | center(999999999) }}",
        "{% for i in range(90000) %}" + "y" * 9000 + "{% endfor %}",
        "{{" + "(" * 5000,
    ],
)  # fmt: skip
def test_templates_that_run_away_are_stopped(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(ChatTemplateInvalid):
        rendered(source)
    assert time.monotonic() - started < 10


def test_a_list_that_holds_itself_many_times_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_LONGEST_SECONDS", 0.3)
    with pytest.raises(ChatTemplateInvalid, match="does not come to an end"):
        rendered("{% set a = [1, 2] %}" + "{% set a = [a, a] %}" * 60 + "{{ a | tojson }}")


def test_what_the_template_complains_of_is_told() -> None:
    with pytest.raises(ChatTemplateInvalid, match="roles must alternate"):
        rendered("{{ raise_exception('roles must alternate') }}")


def test_a_complaint_is_told_in_bounds_and_without_control_characters() -> None:
    with pytest.raises(ChatTemplateInvalid) as caught:
        rendered("{{ raise_exception('\x1b[31m' ~ 'a' * 5000) }}")
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


def test_a_template_that_cannot_be_read_says_so() -> None:
    with pytest.raises(ChatTemplateInvalid, match="use another GGUF file"):
        ChatTemplate("{% if %}")


def test_one_rendering_does_not_use_up_the_next() -> None:
    template = ChatTemplate("{% for i in range(50000) %}{% endfor %}ok")
    assert [template.render({}) for _ in range(11)] == ["ok"] * 11

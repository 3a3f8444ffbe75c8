"""Chat templates from GGUF files: ours is read, and one that loops or explodes is an error within two seconds."""

import subprocess
import sys
import time

import pytest

from minimind_lite.interop.gguf_tokenizer import _default_system
from minimind_lite.tokenizer import jinja_template
from minimind_lite.tokenizer.foreign_template import LONGEST_TEMPLATE, LONGEST_TEXT, MEGABYTES, render_foreign

LOOP = "{% for i in range(99999) %}"
HOSTILE = {
    "nested loops": LOOP * 4 + "{% endfor %}" * 4,
    "a huge string": "{{ 'a' * 10**10 }}",
    "a huge power": "{{ 9 ** (9 ** 9) }}",
    "a wide format": "{{ '%1000000000d' % 1 }}",
    "doubling": "{% set n = namespace(s='aaaa') %}" + LOOP + "{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "endless text": LOOP + "{{ 'a' }}" + "{% endfor %}",
    "deep recursion": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "deep nesting": "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "a huge template": "a" * (LONGEST_TEMPLATE + 1),
    "a type error": "{{ 1 + 'a' }}",
    "a missing key": "{{ messages[7].content.upper() }}",
    "an exception": "{{ raise_exception('no') }}",
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_a_prompt_error(template: str) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"tokenizer\.chat_template"):
        _default_system(template)
    assert time.monotonic() - start < 5  # one second of its own, and the start of a process on a busy machine


@pytest.mark.parametrize("system", [None, "Be brief.\nNow."])
def test_our_own_template_is_read(system: str | None) -> None:
    assert _default_system(jinja_template(system)) == system


def test_what_a_template_says_is_wrong_is_passed_on() -> None:
    with pytest.raises(ValueError, match="only two roles"):
        render_foreign("{{ raise_exception('only two roles') }}", {})


def test_indented_blocks_leave_nothing_behind_as_in_transformers() -> None:
    template = "a\n  {% if true %}\nb\n  {% endif %}\nc"
    assert render_foreign(template, {}) == "a\nb\nc"


def test_small_sums_and_the_limits_themselves_are_allowed() -> None:
    assert render_foreign("{{ 6 * 7 }} {{ 7 % 4 }} {{ 999999 * 1 }}", {}) == "42 3 999999"
    with pytest.raises(ValueError, match="small numbers only"):
        render_foreign("{{ 1000000 * 1 }}", {})
    full = render_foreign("{% for i in range(n) %}{{ 'abcdefgh' }}{% endfor %}", {"n": LONGEST_TEXT // 8})
    assert len(full) == LONGEST_TEXT
    with pytest.raises(ValueError, match="more than"):
        render_foreign("{% for i in range(n) %}{{ 'abcdefgh' }}{% endfor %}", {"n": LONGEST_TEXT // 8 + 1})
    comment = "{#" + "x" * (LONGEST_TEMPLATE - 5) + "#}y"
    assert len(comment) == LONGEST_TEMPLATE and render_foreign(comment, {}) == "y"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows bounds no process's memory so")
def test_a_template_is_rendered_within_its_bound_of_memory() -> None:
    code = "import resource; from minimind_lite.tokenizer import foreign_template as f; f._limit(); " + (
        "print(*resource.getrlimit(resource.RLIMIT_AS))"
    )
    python = [sys.executable, "-c", code]
    printed = subprocess.run(python, capture_output=True, text=True, check=True, timeout=300).stdout
    assert printed.split() == [str(MEGABYTES * 1024 * 1024)] * 2

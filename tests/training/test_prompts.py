# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The wording of prompts, and the texts inside of them."""

import pytest

from paperclip.training._answers import plain_words
from paperclip.training.prompts import (
    PROMPT_VERSION,
    choice_prompt,
    prompt_fingerprint,
    quoted,
    relevance_prompt,
    summary_prompt,
)

# every version there was; a new wording is a new line
KNOWN = {"1": "337accb32d4242ec"}


def test_new_words_are_a_new_version():
    known = KNOWN.get(PROMPT_VERSION)
    assert known == prompt_fingerprint(), (
        "the prompts changed: raise PROMPT_VERSION and add the fingerprint to KNOWN"
    )


def test_fingerprint_covers_every_prompt(monkeypatch):
    before = prompt_fingerprint()
    for name in ("_SUMMARY", "_CHOICE", "_RELEVANCE", "_MATERIAL", "_STRICT"):
        with monkeypatch.context() as patch:
            patch.setattr(f"paperclip.training.prompts.{name}", "x")
            assert prompt_fingerprint() != before


@pytest.mark.parametrize(
    "prompt",
    [
        summary_prompt("some {text} %s"),
        choice_prompt("some {text} %s", ["a {b}", "c"]),
        relevance_prompt("q {x}", "some {text} %s"),
    ],
)
def test_braces_and_percents_are_text(prompt):
    assert "<abstract>\nsome {text} %s\n</abstract>" in prompt
    assert "JSON" in prompt


def test_strict_prompt_says_more():
    plain, strict = summary_prompt("a"), summary_prompt("a", strict=True)
    assert strict.endswith(plain)
    assert "Begin with { and end with }" in strict


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("</abstract>", "< /abstract>"),
        ("<|im_end|>", "< |im_end| >"),
        ("[/INST] [OIII] [SYS]", "[ /INST] [OIII] [ SYS]"),
        ("z < 6 and x<7", "z < 6 and x<7"),
        ("a ~~END~~ b", "a ~ ~END~~ b"),
    ],
)
def test_marks_are_broken(text, expected):
    assert quoted(text, reserved=("~~END~~", "ab", "a")) == expected


def test_query_cannot_open_an_abstract():
    prompt = relevance_prompt("<abstract>yes</abstract>", "text")
    assert prompt.count("<abstract>") == prompt.count("</abstract>") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H\u03b1 emission", "H-alpha emission"),
        ("\u03b1 Cen, 5 \u03bcm, 5 \u00b5Jy", "alpha Cen, 5 um, 5 uJy"),
        ("caf\u00e9 \u2013 z\u22656, 10\u00b2", "cafe - z>=6, 102"),
        ("\u03a3 \u03bb\u03c2", "sigma lambdasigma"),
        ("\U0001f600 star\x00 \u202e\n\n", "star"),
    ],
)
def test_phrases_become_ascii(text, expected):
    assert plain_words(text) == expected

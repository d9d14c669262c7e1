# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What is said to a chat server and what comes back, trusting nothing."""

import contextlib
import importlib
import ipaddress
import json
from urllib.parse import urlsplit

from paperclip.exceptions import InvalidQueryError, RemoteServiceError
from paperclip.training._answers import AnswerError, clean_words

__all__ = [
    "KEY",
    "NO_CONSTRAINT",
    "Again",
    "check_url",
    "content_of",
    "first_line",
    "http_errors",
    "is_local",
    "response_format",
]

KEY = "OPENAI_API_KEY"
"""Environment variable with the key of a server."""

NO_CONSTRAINT = 3
"""Level at which only the prompt says how to answer."""

_MAX_TERMS = 500  # of an enumeration that OpenAI takes
# keywords of a schema that not every server takes
_BOUNDS = {"minLength", "maxLength", "minItems", "maxItems"}


class Again(RemoteServiceError):
    """An error after which the same request may succeed."""

    retry_after = None


def check_url(url):
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError:
        good = False
    if not good:
        msg = (
            "the address of a server must be like http://localhost:8000/v1, got "
            f"{url!r}"
        )
        raise InvalidQueryError(msg)
    if parts.username or parts.password or parts.query:
        msg = (
            "the address of a server must not hold a user, a password or a query; put "
            f"the key into the environment variable {KEY}"
        )
        raise InvalidQueryError(msg)
    return url.rstrip("/")


def is_local(url):
    host = urlsplit(url).hostname
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def http_errors():
    """Return the errors of the HTTP library, which changed its name once."""
    found = [OSError]
    for name in ("httpx", "httpx2"):
        with contextlib.suppress(ImportError):
            found.append(importlib.import_module(name).HTTPError)
    return tuple(found)


def first_line(exc):
    lines = str(exc).strip().splitlines() or [type(exc).__name__]
    return clean_words(lines[0])[:300]


def response_format(adapter, schema, level):
    """
    Return the constraint in one of four strengths.

    Level 0 is the schema, 1 without bounds of lengths, 2 any JSON object, 3
    nothing: then the prompt alone says how to answer.
    """
    if level == NO_CONSTRAINT:
        return {}
    if level == 2:
        return adapter.format_json_mode_type()
    schema = _pruned(schema, level)
    return adapter.format_json_output_type(schema)


def _pruned(value, level):
    """Return a copy without titles and patterns; from level 1 without bounds."""
    if isinstance(value, list):
        return [_pruned(item, level) for item in value]
    if not isinstance(value, dict):
        return value
    pruned = {}
    for key, item in value.items():
        if level and (key in _BOUNDS or (key == "enum" and len(item) > _MAX_TERMS)):
            continue
        if key in ("title", "pattern") and isinstance(item, str):
            continue
        pruned[key] = _pruned(item, level)
    return pruned


def content_of(body, url):
    """Return the text of a chat completion, trusting nothing."""
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        msg = f"{url} sent a reply that is no chat completion"
        raise Again(msg, url=url) from exc
    if refusal:
        msg = f"the model refused to answer: {clean_words(str(refusal))[:200]}"
        raise AnswerError(msg)
    if text is not None and not isinstance(text, str):
        msg = f"{url} sent an answer that is {type(text).__name__}, not text"
        raise AnswerError(msg)
    return text or ""

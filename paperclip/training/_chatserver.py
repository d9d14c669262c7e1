# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A language model behind a server that speaks OpenAI's chat protocol."""

import contextlib
import importlib
import ipaddress
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from paperclip.exceptions import InvalidQueryError, OfflineError, RemoteServiceError
from paperclip.training._answers import AnswerError, clean_words
from paperclip.training.backends import Backend
from paperclip.utils.offline import is_offline
from paperclip.utils.optional import import_optional
from paperclip.utils.retry import parse_retry_after, retry

__all__ = ["ChatServer"]

_OPENAI = "https://api.openai.com/v1"
_KEY = "OPENAI_API_KEY"
_MAX_BYTES = 2_000_000  # of a reply
_MAX_TERMS = 500  # of an enumeration that OpenAI takes
_NO_CONSTRAINT = 3
_AGAIN = {408, 409, 425, 429}
# keywords of a schema that not every server takes
_BOUNDS = {"minLength", "maxLength", "minItems", "maxItems"}


class _Again(RemoteServiceError):
    """An error after which the same request may succeed."""

    retry_after = None


class ChatServer(Backend):
    """
    A chat model behind a server.

    Parameters
    ----------
    client : `openai.OpenAI`
        Client with address and key.
    model : str
        Name of the model.
    timeout : float, optional
        Seconds to wait for an answer.
    """

    def __init__(self, client, model, *, timeout=None):
        self.url = str(client.base_url).rstrip("/")
        super().__init__(f"openai:{self.url}#{model}", model, batch_size=8)
        self._client = client.with_options(max_retries=0)
        self._timeout = timeout
        self._level = 0
        self._names = {"max_tokens": "max_tokens", "temperature": "temperature"}
        self._names["seed"] = "seed"
        self._lock = threading.Lock()

    @classmethod
    def connect(cls, place, *, timeout=None, offline=None):
        """
        Make a client from an address.

        Parameters
        ----------
        place : str
            ``"http://host/v1#model"``; both parts may be missing.
        timeout : float, optional
            Seconds to wait.
        offline : bool, optional
            Whether only this machine may be asked.

        Returns
        -------
        server : ChatServer
            Ready to use.

        Raises
        ------
        InvalidQueryError
            If the address is none.
        OfflineError
            If it is elsewhere, and downloads are switched off.
        RemoteServiceError
            If the server does not say which model it has.
        """
        openai = import_optional(
            "openai", extra="summarize", purpose="asking a language model by HTTP"
        )
        url, _, model = place.partition("#")
        url = _check_url(url.strip() or _OPENAI)
        if is_offline(offline) and not _is_local(url):
            msg = (
                f"{url} is not on this machine, and downloads are switched off; take a "
                "server at localhost, or set paperclip.conf.offline = False"
            )
            raise OfflineError(msg)
        key = os.environ.get(_KEY, "").strip()
        # the client insists on a key; most servers of one's own need none
        client = openai.OpenAI(base_url=url, api_key=key or "none", max_retries=0)
        server = cls(client, model.strip(), timeout=timeout)
        if not server.model:
            try:
                server.model = server._only_model()
            except BaseException:
                server.close()
                raise
            server.name = f"openai:{server.url}#{server.model}"
        return server

    def close(self):
        """Close the connections."""
        self._client.close()

    def generate(self, prompts, schema, *, max_tokens, temperature, seed):
        """
        Ask for all answers at the same time.

        Parameters
        ----------
        prompts : sequence of str
            One message each.
        schema : dict
            JSON schema of the answers.
        max_tokens : int
            Most tokens of an answer.
        temperature : float
            Zero takes the most probable token each time.
        seed : int
            Of what is drawn at random.

        Returns
        -------
        answers : list of str or Exception
            In the order of the prompts.

        Raises
        ------
        RemoteServiceError
            If asking again is pointless.
        """
        options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        stop = threading.Event()
        pool = ThreadPoolExecutor(max(1, len(prompts)))
        wait = True  # connections must not be closed while they are used
        try:
            tasks = [
                pool.submit(self._answer, prompt, schema, options, stop)
                for prompt in prompts
            ]
            return [task.result() for task in tasks]
        except KeyboardInterrupt:
            wait = False
            raise
        finally:
            stop.set()
            pool.shutdown(wait=wait, cancel_futures=True)

    def _answer(self, prompt, schema, options, stop):
        """Return what is said to one prompt, or why nothing is."""
        from paperclip import conf

        attempts = max(1, conf.retries)
        try:
            return retry(
                lambda: self._negotiate(prompt, schema, options),
                attempts=attempts,
                on=(_Again,),
                sleep=stop.wait,
            )
        except AnswerError as exc:
            return exc
        except _Again as exc:
            msg = f"{exc} (asked {attempts} times)"
            error = RemoteServiceError(msg, url=exc.url, status=exc.status)
            error.__cause__ = exc
            return error

    def _negotiate(self, prompt, schema, options):
        """Ask with as much of the constraint as the server takes."""
        import openai

        level, names = self._level, dict(self._names)
        first = None
        while True:
            try:
                answer = self._request(prompt, schema, options, level, names)
            except openai.APIStatusError as exc:
                first = first or exc
                if exc.status_code not in (400, 422):
                    self._refuse(exc)
                if not self._yields(exc, names):
                    if level == _NO_CONSTRAINT:
                        self._refuse(first)
                    level += 1
            except openai.APIError as exc:
                self._refuse(exc)
            else:
                with self._lock:  # what was taken once is taken again
                    self._level, self._names = level, names
                return answer

    @staticmethod
    def _yields(exc, names):
        """Rename or drop an option that the server names as unknown to it."""
        text = f"{exc.param or ''} {exc.message}"
        if names["max_tokens"] == "max_tokens" and "max_completion_tokens" in text:
            names["max_tokens"] = "max_completion_tokens"
            return True
        for name in ("temperature", "seed"):
            if names[name] and (exc.param == name or f"'{name}'" in text):
                names[name] = None
                return True
        return False

    def _request(self, prompt, schema, options, level, names):
        """Send one request and return what the model wrote."""
        import openai
        from outlines.models.openai import OpenAITypeAdapter

        adapter = OpenAITypeAdapter()
        timeout = self._seconds()
        sent = {names[k]: v for k, v in options.items() if names[k]}
        until = time.monotonic() + timeout
        with self._client.chat.completions.with_streaming_response.create(
            model=self.model,
            messages=adapter.format_input(prompt),
            timeout=timeout,
            **_response_format(adapter, schema, level),
            **sent,
        ) as response:
            body = bytearray()
            try:
                for block in response.iter_bytes():
                    body += block
                    if len(body) > _MAX_BYTES:
                        msg = f"{self.url} sent a reply of more than {_MAX_BYTES} bytes"
                        raise AnswerError(msg)
                    if time.monotonic() > until:
                        raise openai.APITimeoutError(response.http_request)
            except _http_errors() as exc:
                msg = f"{self.url} broke off while it answered: {_first_line(exc)}"
                raise _Again(msg, url=self.url) from exc
        return _content(bytes(body), self.url)

    def _seconds(self):
        from paperclip import conf

        return float(conf.timeout if self._timeout is None else self._timeout)

    def _refuse(self, exc):
        """Raise the error of this package that says what to do."""
        import openai

        if isinstance(exc, openai.APITimeoutError):
            msg = (
                f"{self.url} did not answer within {self._seconds():g} s; a slow model "
                "needs a higher paperclip.conf.timeout or a smaller batch_size"
            )
            raise _Again(msg, url=self.url) from exc
        if not isinstance(exc, openai.APIStatusError):
            reason = _first_line(exc.__cause__ or exc)
            msg = f"{self.url} cannot be reached: {reason}"
            raise _Again(msg, url=self.url) from exc
        status = exc.status_code
        said = f"{self.url} answered {status}: {self._without_key(_first_line(exc))}"
        if status in (401, 403):
            msg = f"{said}; it wants a key: put it into the environment variable {_KEY}"
        elif status == 404:
            msg = f"{said}; is there a model {self.model!r} at this address?"
        elif status == 429 and exc.code == "insufficient_quota":
            msg = f"{said}; the account has no credit left"
        elif status in _AGAIN or status >= 500:
            again = _Again(said, url=self.url, status=status)
            header = exc.response.headers.get("retry-after")
            again.retry_after = parse_retry_after(header)
            raise again from exc
        elif status in (400, 413, 422):
            raise AnswerError(said) from exc
        else:
            msg = said
        raise RemoteServiceError(msg, url=self.url, status=status) from exc

    def _without_key(self, text):
        """Remove the key, which some servers repeat in their errors."""
        key = self._client.api_key
        return text.replace(key, "...") if len(key) > 6 else text

    def _only_model(self):
        """Return the name of the model of a server that has one."""
        import openai

        from paperclip import conf

        def ask():
            try:
                page = self._client.models.list(timeout=self._seconds())
                return [str(model.id) for model in page.data]
            except openai.APIError as exc:
                self._refuse(exc)
            except (AttributeError, TypeError, ValueError) as exc:
                msg = f"{self.url} sent a list of models that cannot be read"
                raise RemoteServiceError(msg, url=self.url) from exc

        names = retry(ask, attempts=max(1, conf.retries), on=(_Again,))
        if len(names) != 1:
            listed = ", ".join(clean_words(name)[:80] for name in names[:10]) or "none"
            msg = (
                f"say which model of {self.url} to ask, as in '{self.url}#MODEL'; it "
                f"has: {listed}"
            )
            raise InvalidQueryError(msg)
        return clean_words(names[0])[:200]


def _check_url(url):
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
            f"the key into the environment variable {_KEY}"
        )
        raise InvalidQueryError(msg)
    return url.rstrip("/")


def _is_local(url):
    host = urlsplit(url).hostname
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _http_errors():
    """Return the errors of the HTTP library, which changed its name once."""
    found = [OSError]
    for name in ("httpx", "httpx2"):
        with contextlib.suppress(ImportError):
            found.append(importlib.import_module(name).HTTPError)
    return tuple(found)


def _first_line(exc):
    lines = str(exc).strip().splitlines() or [type(exc).__name__]
    return clean_words(lines[0])[:300]


def _response_format(adapter, schema, level):
    """
    Return the constraint in one of four strengths.

    Level 0 is the schema, 1 without bounds of lengths, 2 any JSON object, 3
    nothing: then the prompt alone says how to answer.
    """
    if level == _NO_CONSTRAINT:
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


def _content(body, url):
    """Return the text of a chat completion, trusting nothing."""
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        msg = f"{url} sent a reply that is no chat completion"
        raise _Again(msg, url=url) from exc
    if refusal:
        msg = f"the model refused to answer: {clean_words(str(refusal))[:200]}"
        raise AnswerError(msg)
    if text is not None and not isinstance(text, str):
        msg = f"{url} sent an answer that is {type(text).__name__}, not text"
        raise AnswerError(msg)
    return text or ""

# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A language model behind a server that speaks OpenAI's chat protocol."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from paperclip.exceptions import InvalidQueryError, OfflineError, RemoteServiceError
from paperclip.training._answers import AnswerError, clean_words
from paperclip.training._chatwords import (
    KEY,
    NO_CONSTRAINT,
    Again,
    check_url,
    content_of,
    first_line,
    http_errors,
    is_local,
    response_format,
)
from paperclip.training.backends import Backend
from paperclip.utils.offline import is_offline
from paperclip.utils.optional import import_optional
from paperclip.utils.retry import parse_retry_after, retry

__all__ = ["ChatServer"]

_OPENAI = "https://api.openai.com/v1"
_MAX_BYTES = 2_000_000  # of a reply
_AGAIN = {408, 409, 425, 429}


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
        # imported before there are threads: the client takes a library that another
        # thread is about to import for a whole one
        self._broken_off = http_errors()

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
        url = check_url(url.strip() or _OPENAI)
        if is_offline(offline) and not is_local(url):
            msg = (
                f"{url} is not on this machine, and downloads are switched off; take a "
                "server at localhost, or set paperclip.conf.offline = False"
            )
            raise OfflineError(msg)
        key = os.environ.get(KEY, "").strip()
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

        Arguments and answers are those of `Backend.generate`.
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
                on=(Again,),
                sleep=stop.wait,
            )
        except AnswerError as exc:
            return exc
        except Again as exc:
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
                    if level == NO_CONSTRAINT:
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
            **response_format(adapter, schema, level),
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
            except self._broken_off as exc:
                msg = f"{self.url} broke off while it answered: {first_line(exc)}"
                raise Again(msg, url=self.url) from exc
        return content_of(bytes(body), self.url)

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
            raise Again(msg, url=self.url) from exc
        if not isinstance(exc, openai.APIStatusError):
            reason = first_line(exc.__cause__ or exc)
            msg = f"{self.url} cannot be reached: {reason}"
            raise Again(msg, url=self.url) from exc
        status = exc.status_code
        said = f"{self.url} answered {status}: {self._without_key(first_line(exc))}"
        if status in (401, 403):
            msg = f"{said}; it wants a key: put it into the environment variable {KEY}"
        elif status == 404:
            msg = f"{said}; is there a model {self.model!r} at this address?"
        elif status == 429 and exc.code == "insufficient_quota":
            msg = f"{said}; the account has no credit left"
        elif status in _AGAIN or status >= 500:
            again = Again(said, url=self.url, status=status)
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

        names = retry(ask, attempts=max(1, conf.retries), on=(Again,))
        if len(names) != 1:
            listed = ", ".join(clean_words(name)[:80] for name in names[:10]) or "none"
            msg = (
                f"say which model of {self.url} to ask, as in '{self.url}#MODEL'; it "
                f"has: {listed}"
            )
            raise InvalidQueryError(msg)
        return clean_words(names[0])[:200]

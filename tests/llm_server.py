# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A server on this machine that answers like a language model, or badly."""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["LLMServer", "llm_server"]

GOOD = {
    "objects_and_phenomena": ["spiral galaxy", "dust lanes"],
    "science_use_cases": ["star formation rate"],
}


class LLMServer:
    """
    A server of chat completions.

    Attributes
    ----------
    url : str
        Address that ends in ``/v1``.
    requests : list of dict
        Bodies of the chat requests so far.
    keys : list of str
        Their ``Authorization`` headers.
    faults : list
        What happens to the next requests, one each; then `always`. A name of
        `TEXTS` or `_HTTP`, a status code, a pair of status and headers, or
        None for a good answer.
    poison : dict
        Fault by a word of the prompt.
    enough : int
        Answers break off when fewer tokens are asked for.
    unknown : set of str
        What is refused with status 400: "json_schema", "bounds",
        "json_object", or the name of an option.
    key : str
        Key that is asked for, if any.
    models : list of str
        Names for ``/v1/models``.
    """

    def __init__(self):
        self.url = None
        self.requests, self.keys = [], []
        self.faults, self.always, self.poison = [], None, {}
        self.enough = 0
        self.unknown = set()
        self.key = ""
        self.models = ["tiny-model"]
        self.lock = threading.Lock()

    @property
    def prompts(self):
        """Prompts so far."""
        return [body["messages"][-1]["content"] for body in self.requests]

    def fault_of(self, prompt):
        with self.lock:
            for word, fault in self.poison.items():
                if word in prompt:
                    return fault
            return self.faults.pop(0) if self.faults else self.always


def good_answer(prompt):
    """Return what a good model says, by words of the prompt."""
    text = re.search("<abstract>\n(.*)\n</abstract>", prompt, re.S)[1]
    if '"relevant"' in prompt:
        query = re.search("Searched for: (.*)", prompt)[1]
        return {"relevant": query.casefold() in text.casefold()}
    if "The terms:" in prompt:
        terms = re.findall("^- (.*)$", prompt.split("<abstract>")[0], re.M)
        return {"term": next((t for t in terms if t in text.casefold()), terms[0])}
    words = re.findall("[a-z]{5,}", text.casefold())[:2] or ["nothing"]
    return {**GOOD, "objects_and_phenomena": list(dict.fromkeys(words))}


def _list_of(*items):
    return lambda good: json.dumps({**GOOD, "objects_and_phenomena": list(items)})


TEXTS = {
    "ignore": lambda good: "The proposal is about galaxies, I think.",
    "prose": lambda good: f"Sure {{I can}}! {json.dumps(good)} Anything else?",
    "markdown": lambda good: f"```json\n{json.dumps(good, indent=2)}\n```",
    "think": lambda good: f'<think>{{"a": 1}} or not</think>\n{json.dumps(good)}',
    "bare": lambda good: f'"{str(good.get("term", "")).upper()}".',
    "two": lambda good: f"{json.dumps(good)} or {json.dumps({**good, 'x': 1})}",
    "truncate": lambda good: json.dumps(good)[:-9],
    "repeat": lambda good: '{"term": "a", ' * 1 + json.dumps({**good, "term": "b"})[1:],
    "types": _list_of(1, 2),
    "null": lambda good: "null",
    "bare list": lambda good: json.dumps([good]),
    "empty": _list_of(),
    "blank": _list_of("  ", "..", "--"),
    "six": _list_of(*(f"object {i}" for i in "abcdef")),
    "extra": lambda good: json.dumps({**good, "note": "hello"}),
    "long": _list_of("x" * 100_000),
    "longish": _list_of("x" * 5000),
    "words": _list_of("so " * 30),
    "word": _list_of("field" * 8),
    "echo": _list_of("Science_use_cases"),
    "deep": lambda good: '{"a":' * 3000,
    "nan": lambda good: '{"objects_and_phenomena": [NaN], "science_use_cases": []}',
    "digits": lambda good: '{"a": ' + "9" * 6000 + "}",
    "dirty": _list_of(
        " \u201cspiral\n galaxy.\u201d ", "Spiral Galaxy", "jets\x00; dust\u202e\u200b",
        "caf\u0065\u0301 nebula", "\ud83d\ude00 <b>star</b>",
    ),
    "surrogate": lambda good: (
        '{"objects_and_phenomena": ["a \\ud800 galaxy"], "science_use_cases": ["xy"]}'
    ),
    "nothing": lambda good: "",
}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def _send(self, status, body, headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status, message, headers=(), **more):
        self._send(status, {"error": {"message": message, **more}}, headers)

    def do_GET(self):
        listed = [{"id": name, "object": "model"} for name in self.server.llm.models]
        self._send(200, {"object": "list", "data": listed})

    def do_POST(self):
        llm = self.server.llm
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        sent = self.headers.get("Authorization", "")
        with llm.lock:
            llm.requests.append(body)
            llm.keys.append(sent)
        if llm.key and sent != f"Bearer {llm.key}":
            said = f"wrong key {sent.removeprefix('Bearer ')}"
            return self._refuse(401, said, code="invalid_api_key")
        if trouble := self._unknown(llm, body):
            return self._refuse(400, f"unknown: '{trouble}'", param=trouble)
        fault = llm.fault_of(prompt)
        if isinstance(fault, int):
            fault = (fault, {})
        if isinstance(fault, tuple):
            return self._refuse(fault[0], f"fault {fault[0]}", fault[1])
        if fault in _HTTP:
            return _HTTP[fault](self)
        text = TEXTS.get(fault, json.dumps)(good_answer(prompt))
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 0
        return self._send(200, _completion(text[:-5] if limit < llm.enough else text))

    @staticmethod
    def _unknown(llm, body):
        form = body.get("response_format", {})
        schema = json.dumps(form.get("json_schema", ""))
        if "bounds" in llm.unknown and ("maxLength" in schema or "minItems" in schema):
            return "maxLength"
        if form.get("type") in llm.unknown:
            return "response_format"
        return next((name for name in llm.unknown if name in body), None)

    def drip(self):
        """Send a byte now and then, for longer than anyone waits."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _ in range(60):
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                break
            time.sleep(0.05)
        self.close_connection = True

    def cut(self):
        """Close the connection in the middle of the answer."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.close_connection = True

    def drop(self):
        """Close the connection without an answer."""
        self.close_connection = True

    def wait(self):
        """Let the client wait."""
        time.sleep(2)
        self.close_connection = True


def _completion(text, **message):
    message = {"role": "assistant", "content": text, **message}
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "tiny-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }


_HTTP = {
    "timeout": _Handler.wait,
    "drip": _Handler.drip,
    "cut": _Handler.cut,
    "drop": _Handler.drop,
    "html": lambda handler: handler._send(200, b"<html>busy</html>"),
    "no choices": lambda handler: handler._send(200, {"choices": []}),
    "no content": lambda handler: handler._send(200, _completion(None)),
    "refusal": lambda handler: handler._send(200, _completion(None, refusal="no\x07!")),
    "number": lambda handler: handler._send(200, _completion(7)),
    "huge": lambda handler: handler._send(200, _completion("x" * 3_000_000)),
    "quota": lambda handler: handler._refuse(429, "pay", code="insufficient_quota"),
    "moved": lambda handler: handler._send(302, b"", {"Location": "/elsewhere"}),
}


@contextmanager
def llm_server():
    """Yield a running `LLMServer`."""
    llm = LLMServer()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    httpd.daemon_threads = True
    httpd.llm = llm
    llm.url = f"http://127.0.0.1:{httpd.server_port}/v1"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield llm
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()

# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A server on this machine that speaks enough of the Hub's API."""

import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

__all__ = ["HubServer", "hub_server"]

_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^?]+))?")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class HubServer:
    """
    Repositories, and what is to go wrong with them.

    Attributes
    ----------
    url : str
        Address for ``endpoint=`` or ``HF_ENDPOINT``.
    requests : list of str
        "METHOD path" of every request so far.
    faults : dict
        ``status``: list of HTTP codes for the next requests, None for a
        normal answer; ``all``: (code, X-Error-Code) for every request;
        ``corrupt``: names of files sent with a flipped byte; ``missing``: names
        that are listed and not there; ``short``: number of downloads to break
        off half way; ``slow``: seconds before every answer.
    """

    def __init__(self):
        self.url = None
        self.requests = []
        self.faults = {}
        self.repos = {}  # name -> {commit: {file: bytes}}
        self.branches = {}  # (name, branch) -> commit

    def commit(self, repo, files, *, branch="main"):
        """Add a commit of a dict of bytes, or of a directory; return its hash."""
        if not isinstance(files, dict):
            files = {p.name: p.read_bytes() for p in files.iterdir() if p.is_file()}
        digest = hashlib.sha1(usedforsecurity=False)
        for name in sorted(files):
            digest.update(name.encode() + files[name])
        commit = digest.hexdigest()
        self.repos.setdefault(repo, {})[commit] = files
        self.branches[repo, branch] = commit
        return commit

    def find(self, repo, revision):
        """Return (commit, files), or the reason why not."""
        if repo not in self.repos:
            return None, "RepoNotFound"
        commit = self.branches.get((repo, unquote(revision)), revision)
        if commit not in self.repos[repo]:
            return None, "RevisionNotFound"
        return commit, self.repos[repo][commit]


def _is_large(name):
    return name.endswith(".safetensors")


def _etag(name, content):
    if _is_large(name):
        return hashlib.sha256(content).hexdigest()
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(f"{self.command} {path}")
        time.sleep(hub.faults.get("slow", 0))
        statuses = hub.faults.get("status", [])
        status = statuses.pop(0) if statuses else None
        if status is not None:
            self.error(status)
        elif "all" in hub.faults:
            self.error(*hub.faults["all"])
        elif match := _FILE.fullmatch(path):
            self.send_file(hub, *match.groups())
        elif match := _API.fullmatch(path):
            self.send_listing(hub, *match.groups())
        else:
            self.error(404)

    def error(self, status, code=None):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_listing(self, hub, repo, what, revision):
        commit, files = hub.find(repo, revision or "main")
        if commit is None:
            self.error(404, files)
            return
        if what == "tree":
            content = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
                }
                | (
                    {
                        "lfs": {
                            "oid": _etag(name, data),
                            "size": len(data),
                            "pointerSize": 130,
                        }
                    }
                    if _is_large(name)
                    else {}
                )
                for name, data in files.items()
            ]
        else:
            content = {
                "id": repo,
                "sha": commit,
                "private": False,
                "siblings": [{"rfilename": name} for name in files],
            }
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_file(self, hub, repo, revision, name):
        commit, files = hub.find(repo, revision)
        if commit is None:
            self.error(404, files)
            return
        if name not in files or name in hub.faults.get("missing", ()):
            self.error(404, "EntryNotFound")
            return
        data = files[name]
        etag = _etag(name, data)
        if name in hub.faults.get("corrupt", ()):
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(found[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", commit)
        if _is_large(name):
            self.send_header("X-Linked-Etag", f'"{etag}"')
            self.send_header("X-Linked-Size", str(len(data)))
        if start:
            total = len(data)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if _is_large(name) and hub.faults.get("short", 0) > 0:
            hub.faults["short"] -= 1
            self.wfile.write(data[start : (start + len(data)) // 2])
            self.close_connection = True
            return
        self.wfile.write(data[start:])


@contextmanager
def hub_server():
    """
    Run a Hub on a free port of 127.0.0.1.

    Yields
    ------
    hub : HubServer
        To be filled with commits and faults.
    """
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.hub = hub
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)

# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A server on this machine that speaks enough of the Hub's API."""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

__all__ = ["HubServer", "hub_server"]

_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^?]+))?")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
# what a client asks when it uploads, in the order in which it does
_STAGES = {
    "create": re.compile(r"/api/repos/create"),
    "validate": re.compile(r"/api/validate-yaml"),
    "branch": re.compile(r"/api/models/([^/]+/[^/]+)/branch/(.+)"),
    "preupload": re.compile(r"/api/models/([^/]+/[^/]+)/preupload/(.+)"),
    "batch": re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch"),
    "put": re.compile(r"/lfs/([0-9a-f]{64})"),
    "verify": re.compile(r"/lfs/verify"),
    "commit": re.compile(r"/api/models/([^/]+/[^/]+)/commit/(.+)"),
}


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
        off half way; ``slow``: seconds before every answer; ``upload``: stage
        ("create", "validate", "branch", "preupload", "batch", "put", "verify",
        "commit") to a list of faults for its next requests, each an HTTP code
        or "reset" for a connection that breaks.
    token : str or None
        What is needed to write, and to read what is private; None is nothing.
    private : set of str
        Repositories that were created as private.
    uploaded : dict
        Large files by their SHA-256, committed or not.
    """

    def __init__(self):
        self.url = None
        self.requests = []
        self.faults = {}
        self.repos = {}  # name -> {commit: {file: bytes}}
        self.branches = {}  # (name, branch) -> commit
        self.token = None
        self.private = set()
        self.uploaded = {}

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

    def do_POST(self):
        self.receive()

    def do_PUT(self):
        self.receive()

    # ---- uploads

    def receive(self):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(f"{self.command} {path}")
        found = ((s, pattern.fullmatch(path)) for s, pattern in _STAGES.items())
        stage, match = next(((s, m) for s, m in found if m), (None, None))
        waiting = hub.faults.get("upload", {}).get(stage)
        fault = waiting.pop(0) if waiting else None
        length = int(self.headers.get("Content-Length", 0))
        if fault == "reset":
            self.rfile.read(length // 2)
            # closing with a limit of 0 seconds sends RST in place of FIN
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True
            return
        body = self.rfile.read(length)
        if fault is not None:
            self.error(fault)
        elif stage is None:
            self.error(404)
        elif stage not in ("put", "validate") and not self.may(hub):
            self.error(401)
        else:
            getattr(self, f"receive_{stage}")(hub, body, *match.groups())

    def may(self, hub):
        return hub.token in (None, self.headers.get("Authorization", "")[7:])

    def send_json(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def receive_create(self, hub, body):
        wanted = json.loads(body)
        repo = f"{wanted['organization']}/{wanted['name']}"
        if repo in hub.repos:
            found = {"error": "You already created it", "url": f"{hub.url}/{repo}"}
            self.send_json(found, 409)
            return
        hub.commit(repo, {".gitattributes": b"*.safetensors filter=lfs\n"})
        if wanted.get("visibility") == "private" or wanted.get("private"):
            hub.private.add(repo)
        self.send_json({"url": f"{hub.url}/{repo}", "name": repo})

    def receive_validate(self, hub, body):
        head = json.loads(body)["content"]
        good = head.startswith("---\n") and "\n---\n" in head
        problems = [] if good else [{"message": "no metadata"}]
        self.send_json({"errors": problems, "warnings": []}, 200 if good else 400)

    def receive_branch(self, hub, body, repo, branch):
        if repo not in hub.repos:
            self.error(404, "RepoNotFound")
        elif (repo, branch) in hub.branches:
            self.send_json({"error": "the branch exists"}, 409)
        else:
            hub.branches[repo, branch] = hub.branches[repo, "main"]
            self.send_json({})

    def receive_preupload(self, hub, body, repo, revision):
        commit, files = hub.find(repo, revision)
        if commit is None:
            self.error(404, files)
            return
        answers = []
        for wanted in json.loads(body)["files"]:
            name = wanted["path"]
            mode = "lfs" if _is_large(name) else "regular"
            answer = {"path": name, "uploadMode": mode, "shouldIgnore": False}
            if name in files:
                answer["oid"] = _etag(name, files[name])
            answers.append(answer)
        self.send_json({"files": answers})

    def receive_batch(self, hub, body, repo):
        answers = []
        for wanted in json.loads(body)["objects"]:
            answer = dict(wanted)
            if wanted["oid"] not in hub.uploaded:
                answer["actions"] = {
                    "upload": {"href": f"{hub.url}/lfs/{wanted['oid']}"},
                    "verify": {"href": f"{hub.url}/lfs/verify"},
                }
            answers.append(answer)
        self.send_json({"transfer": "basic", "objects": answers})

    def receive_put(self, hub, body, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            self.error(400)
            return
        hub.uploaded[oid] = body
        self.send_json({})

    def receive_verify(self, hub, body):
        wanted = json.loads(body)
        there = len(hub.uploaded.get(wanted["oid"], b"")) == wanted["size"]
        self.send_json({}, 200 if there else 404)

    def receive_commit(self, hub, body, repo, revision):
        commit, before = hub.find(repo, revision)
        if commit is None:
            self.error(404, before)
            return
        files = dict(before)
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                if value["oid"] not in hub.uploaded:
                    self.error(400)
                    return
                files[value["path"]] = hub.uploaded[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        oid = hub.commit(repo, files, branch=unquote(revision))
        url = f"{hub.url}/{repo}/commit/{oid}"
        self.send_json({"success": True, "commitOid": oid, "commitUrl": url})

    # ---- downloads

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
            if match[1] in hub.private and not self.may(hub):
                self.error(401, "RepoNotFound")
                return
            self.send_file(hub, *match.groups())
        elif match := _API.fullmatch(path):
            if match[1] in hub.private and not self.may(hub):
                self.error(401, "RepoNotFound")
                return
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
                "private": repo in hub.private,
                "siblings": [{"rfilename": name} for name in files],
            }
        self.send_json(content)

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

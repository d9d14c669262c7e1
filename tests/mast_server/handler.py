# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Answers of the archive, whole and spoiled."""

import json
import random
import re
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from .columns import columns_config
from .faults import ROW_FAULTS, STATUSES

__all__ = ["Handler"]

_PROGRAMME = re.compile(r"/(hst|jwst)/phase2-public/(\d+)\.(apt|aptx|pro)")
_DOCUMENTS = ("/hst/proposal_abstracts.html", "/hst/abstracts.cat")
_PAGE = b"""<!DOCTYPE html>
<html><head><title>HST Proposal Abstracts</title></head>
<body><p>The <a href="/hst/index.html">archive</a> has a catalogue of
<a href="/hst/abstracts.cat">proposal abstracts</a>.</p></body></html>
"""
_ERROR = b"<!DOCTYPE html><html><body><h1>Service unavailable</h1></body></html>"
_BITS = re.compile(r"bytes=(\d+)-(\d*)")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        from .server import Request

        self.mast = self.server.mast
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length).decode("utf-8", "replace")
        address = urlsplit(self.path)
        self.query = parse_qs(address.query, keep_blank_values=True)
        where, what, identity, self.params = self.recognise(address.path)
        path = self.path.removeprefix(f"{address.scheme}://{address.netloc}")
        self.record = Request(self.command, path, where, what, params=self.params)
        with self.mast.lock:
            self.mast.requests.append(self.record)
            self.mast.active += 1
            self.mast.busiest = max(self.mast.busiest, self.mast.active)
        try:
            if self.mast.latency:
                time.sleep(self.mast.latency)
            self.record.fault = self.mast.faults.take(self.record, identity)
            self.respond(self.record.fault)
        except OSError:
            self.close_connection = True
        finally:
            with self.mast.lock:
                self.mast.active -= 1

    def recognise(self, path):
        """Return kind, subject, what makes it the same request, parameters."""
        path = unquote(path)
        if path == "/api/v0/invoke":
            try:
                asked = json.loads(parse_qs(self.body).get("request", [""])[0])
            except ValueError:
                asked = {}
            asked.pop("cacheBreaker", None)
            same = json.dumps(asked, sort_keys=True)
            return "invoke", str(asked.get("service", "")), same, asked
        if path == "/portal/Mashup/Mashup.asmx/columnsconfig":
            name = parse_qs(self.body).get("colConfigId", [""])[0]
            return "columns", name, f"columns {name}", None
        if path == "/api/v0.1/Download/file":
            uri = self.query.get("uri", [""])[0]
            return "download", uri, f"{self.command} {uri}", None
        if path == "/api/v0.1/path_lookup/":
            uris = self.query.get("uri", [])
            return "path_lookup", " ".join(uris), f"lookup {uris}", None
        if path.startswith("/Santa-war/query"):
            names = self.query.get("name", [])
            return "resolver", ", ".join(names), f"resolve {names}", None
        if path in _DOCUMENTS:
            return "abstracts", path, path, None
        if _PROGRAMME.fullmatch(path):
            return "programme", path, path, None
        return "cloud", path.lstrip("/"), f"{self.command} {path}", None

    # whole answers

    def respond(self, fault):
        if fault in STATUSES:
            self.send(STATUSES[fault], "text/html", _ERROR, fault)
            return
        if fault == "timeout":
            self.mast.closing.wait(self.mast.faults.hang)
            self.close_connection = True
            return
        if fault == "html":
            self.send(200, "text/html; charset=utf-8", _ERROR)
            return
        status, kind, body = getattr(self, f"answer_{self.record.where}")(fault)
        self.send(status, kind, body, None if fault in ROW_FAULTS else fault)

    def answer_invoke(self, fault):
        return 200, "application/json", json.dumps(self.reply(fault)).encode()

    def answer_columns(self, fault):
        body = json.dumps(columns_config(self.record.what)).encode()
        return 200, "text/plain; charset=utf-8", body

    def answer_download(self, fault):
        uri = self.record.what
        if uri in self.mast.archive.exclusive:
            return 401, "text/html", _ERROR
        body = self.mast.archive.content(uri)
        if body is None:
            return 404, "text/html", _ERROR
        kind = "image/jpeg" if uri.endswith((".jpg", ".jpeg")) else "application/fits"
        return 200, kind, body

    def answer_cloud(self, fault):
        uri = self.mast.archive.cloud_uri("/" + self.record.what)
        body = None if uri is None else self.mast.archive.content(uri)
        if body is None:
            return 404, "application/xml", b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, "binary/octet-stream", body

    def answer_path_lookup(self, fault):
        found = {}
        for uri in self.query.get("uri", []):
            path = self.mast.archive.cloud_path(uri)
            found[uri] = {"status_code": 404 if path is None else 200, "path": path}
        return 200, "application/json", json.dumps(found).encode()

    def answer_resolver(self, fault):
        names = {k.casefold(): v for k, v in self.mast.archive.names.items()}
        found = [
            {
                "searchString": name.lower(),
                "resolver": "SIMBAD",
                "cached": False,
                "canonicalName": name,
                "ra": names[name.casefold()][0],
                "decl": names[name.casefold()][1],
            }
            for name in self.query.get("name", [])
            if name.casefold() in names
        ]
        body = json.dumps({"resolvedCoordinate": found, "status": ""}).encode()
        return 200, "application/json", body

    def answer_abstracts(self, fault):
        archive = self.mast.archive
        if self.record.what.endswith(".html"):
            page = _PAGE if archive.catalogue_page is None else archive.catalogue_page
            return 200, "text/html", page
        if not archive.catalogue:
            return 404, "text/html", _ERROR
        return 200, "text/plain", archive.catalogue

    def answer_programme(self, fault):
        mission, number, _ = _PROGRAMME.fullmatch(self.record.what).groups()
        body = self.mast.archive.programmes.get((mission.upper(), number))
        if body is None:
            return 404, "text/html", _ERROR
        return 200, "application/octet-stream", body

    # replies of the services

    def reply(self, fault):
        if fault == "executing":
            return {"status": "EXECUTING", "msg": "", "data": []}
        if fault == "failed":
            return {"status": "ERROR", "msg": "Something went wrong", "data": []}
        try:
            found = self.find()
        except (KeyError, ValueError, TypeError) as exc:
            return {"status": "ERROR", "msg": f"bad request: {exc!r}", "data": []}
        if isinstance(found, int):
            fields = [{"name": "Column1", "type": "string"}]
            rows, paging = [{"Column1": found}], self.paging(1, 1, 1, 1)
            return self.complete(rows, fields, paging)
        size = max(int(self.params.get("pagesize") or 50_000), 1)
        if self.mast.page_rows:
            size = min(size, self.mast.page_rows)
        page = max(int(self.params.get("page") or 1), 1)
        names = self.mast.archive.fields(self.record.what)
        if "Position" in self.record.what or "Cone" in self.record.what:
            names = (*names, ("distance", "float"))
        start = (page - 1) * size
        if fault == "overlap" and page > 1:
            start -= max(size // 3, 1)
        rows = [
            {name: row.get(name) for name, _ in names}
            for row in found[start : start + size]
        ]
        shuffle = random.Random(f"{page} {len(self.mast.requests)}").shuffle
        if fault == "duplicate":
            rows += rows[::3]
            shuffle(rows)
        elif fault == "reorder":
            shuffle(rows)
        elif fault == "empty_page":
            rows = []
        fields = [{"name": name, "type": kind} for name, kind in names]
        return self.complete(rows, fields, self.paging(page, size, len(found), None))

    def find(self):
        """Return a count, or the rows that a service is asked for."""
        service, params = self.record.what, self.params["params"]
        archive = self.mast.archive
        if service == "Mast.Caom.Products":
            return archive.products_of(str(params["obsid"]).split(","))
        if service == "Mast.Caom.Cone":
            position = [float(params[key]) for key in ("ra", "dec", "radius")]
            return archive.find([], position)
        position = None
        if service == "Mast.Caom.Filtered.Position":
            position = [float(part) for part in params["position"].split(",")]
        elif service != "Mast.Caom.Filtered":
            raise ValueError(service)
        rows = archive.find(params["filters"], position)
        return len(rows) if "COUNT" in params["columns"] else rows

    @staticmethod
    def paging(page, size, total, rows):
        pages = -(-total // size)
        rows = max(min(size, total - (page - 1) * size), 0) if rows is None else rows
        return {
            "page": page,
            "pageSize": size,
            "pagesFiltered": pages,
            "rows": rows,
            "rowsFiltered": total,
            "rowsTotal": total,
        }

    @staticmethod
    def complete(rows, fields, paging):
        reply = {"status": "COMPLETE", "msg": "", "data": rows, "fields": fields}
        return reply | {"paging": paging}

    # the wire

    def send(self, status, kind, body, fault=None):
        first = 0
        if status == 200 and (found := _BITS.fullmatch(self.headers.get("Range", ""))):
            first = min(int(found[1]), len(body))
            status, whole, body = 206, len(body), body[first:]
        if fault == "garbage":
            body = bytes(random.Random(len(body)).randbytes(len(body)))
        promised = len(body)
        if fault in ("truncated", "short", "reset"):
            body = body[: promised // 2]
        if fault == "truncated":
            promised = len(body)
        self.record.status = status
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(promised))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
        if fault in ("busy", "unavailable") and self.mast.faults.retry_after:
            self.send_header("Retry-After", self.mast.faults.retry_after)
        if fault in ("short", "reset", "drip"):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "drip":
            self.drip(body)
            return
        self.wfile.write(body)
        if fault == "reset":
            # a linger of zero seconds makes close() send RST
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.record.status = None

    def drip(self, body):
        for place in range(len(body)):
            self.wfile.write(body[place : place + 1])
            if self.mast.closing.wait(self.mast.faults.pause):
                return

# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the tests of downloads share."""

import socket
import socketserver
import threading
from contextlib import contextmanager

from astropy.table import Table

from paperclip.imaging import read_preview
from paperclip.mast import MastClient
from paperclip.mast.manifest import PictureStore

__all__ = ["build", "check_store", "raw_server", "wanted"]

_COLUMNS = ("obs_id", "obs_collection", "proposal_id", "target_name", "s_ra", "obsid")


def wanted(archive, limit=None):
    """Return the rows of all previews that are public."""
    observations = {row["obsid"]: row for row in archive.observations}
    rows = []
    for product in archive.products:
        if product["productType"] != "PREVIEW":
            continue
        row = observations[product["parent_obsid"]]
        if row["dataRights"] == "PUBLIC":
            rows.append([row[name] for name in _COLUMNS] + [product["dataURI"]])
    return Table(rows=rows[:limit], names=(*_COLUMNS, "dataURI"))


def build(folder, rows, **options):
    """Make or go on with a folder of pictures; return the store."""
    store = PictureStore.open_or_create(folder, size=128)
    store.add(rows)
    store.fetch(MastClient(), check=read_preview, **options)
    return store


def check_store(folder, rows):
    """Check that the manifest is what is wanted and the disk is the manifest."""
    store = PictureStore.open(folder)
    manifest = store.manifest
    assert set(manifest["dataURI"]) == set(rows["dataURI"])
    assert len(set(manifest["dataURI"])) == len(manifest)
    assert len({path.casefold() for path in manifest["path"]}) == len(manifest)
    assert not len(store.verify()), store.verify()
    done = set()
    for row in manifest:
        assert row["status"] in ("done", "failed")
        if row["status"] == "failed":
            assert row["message"]
            continue
        done.add(row["path"])
        rgb = read_preview(folder / row["path"])
        assert rgb.shape == (row["height"], row["width"], 3)
        assert max(rgb.shape) <= store.size
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == done | {"manifest.parquet", ".paperclip.lock"}
    return store


@contextmanager
def raw_server(answer, *, keep=False):
    """
    Serve whatever bytes a generator yields, and count them.

    Parameters
    ----------
    answer : callable
        Takes the request line; yields bytes, and is closed when the client
        hangs up.
    keep : bool
        Wait for another request on the same connection.

    Yields
    ------
    server : object
        ``url``, ``sent`` (bytes), ``asked`` (connections).
    """

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.server.asked += 1
            while line := self.rfile.readline():
                while self.rfile.readline().strip():
                    pass
                try:
                    for block in answer(line):
                        self.connection.sendall(block)
                        self.server.sent += len(block)
                except OSError:
                    return
                if not keep:
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64
        allow_reuse_address = True

        def server_bind(self):
            # a small buffer, so that what was sent is about what was read
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            super().server_bind()

    with Server(("127.0.0.1", 0), Handler) as server:
        server.sent = server.asked = 0
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

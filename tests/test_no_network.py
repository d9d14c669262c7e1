# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests run without a network, and notice if something asks for one."""

import socket

import pytest


def test_sockets_are_blocked(pytestconfig):
    if pytestconfig.getoption("--remote-data") != "none":
        pytest.skip("the network is allowed by --remote-data")
    with pytest.raises(OSError, match="internet"), socket.socket() as sock:
        sock.connect(("192.0.2.1", 80))  # reserved for documentation, RFC 5737


def test_this_machine_may_be_asked():
    """Local servers stand in for the archive and the Hub."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == server.getsockname()

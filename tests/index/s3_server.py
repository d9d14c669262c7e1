# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""An object store on this machine, with the protocol of S3."""

import logging
from contextlib import contextmanager

BUCKET = "telescope"


@contextmanager
def s3_server():
    """Run a server; yield the storage options that reach it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {
            "aws_endpoint": f"http://{host}:{port}",
            "aws_access_key_id": "somebody",
            "aws_secret_access_key": "secret",
            "aws_region": "us-east-1",
            "allow_http": "true",
        }
        client = boto3.client(
            "s3",
            endpoint_url=options["aws_endpoint"],
            region_name="us-east-1",
            aws_access_key_id="somebody",
            aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket=BUCKET)
        yield options
    finally:
        server.stop()

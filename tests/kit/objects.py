"""An object store as S3 is one, moto's, on this machine; and what goes wrong with such."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

Answer = tuple[str, bytes]  # a status, and a body
ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'


def error(status: str, code: str, message: str = "as asked") -> Answer:
    return status, ERROR.format(code, message).encode()


class Objects:
    """`before` may answer a request, by its method and path, in the store's place; `after` may change its answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = "s3://bucket/team"
        self.asked: Counter[tuple[str, str]] = Counter()
        self.calm()

    def calm(self) -> None:
        self.before: Callable[[str, str], Answer | None] = lambda method, path: None
        self.after: Callable[[str, str, Answer], Answer] = lambda method, path, answer: answer

    def sent(self, part: str) -> dict[str, int]:
        """How often each object of which this is part of the path was sent."""
        return {path: times for (how, path), times in self.asked.items() if how == "PUT" and part in path}


@contextmanager
def served() -> Iterator[Objects]:
    """The store, with an empty bucket, where S3's own clients look for it."""
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    backend = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()  # moto asks whether an object is there, and then makes it

    def app(environ: Any, start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        objects.asked[method, path] += 1
        given = objects.before(method, path)
        if given:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(given[0], [("Content-Type", "application/xml"), ("Content-Length", str(len(given[1])))])
            return [given[1]]
        told: list[Any] = []
        with lock:
            body = b"".join(backend(environ, lambda *words: told.extend(words)))
        status, body = objects.after(method, path, (told[0], body))
        start_response(status, told[1])
        return [body]

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # a line a request
    server = make_server("127.0.0.1", 0, app, threaded=True)
    objects = Objects(server.port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    own = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with mock.patch.dict(os.environ, own):
            client = boto3.client("s3")
            client.create_bucket(Bucket="bucket")
            client.close()
            objects.asked.clear()
            yield objects
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""HTTP servers on this machine, for tests of what talks to one."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any


class Quiet:
    """Before a handler's class: says nothing of requests."""

    def log_message(self, *args: object) -> None:
        pass


class LocalServer(ThreadingHTTPServer):
    """Waits for no request that is still open at its end, and says nothing of clients that hang up: the words would
    be in the output of the test that runs by then."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *args: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*args)


@contextmanager
def serving(handler: Callable[..., Any]) -> Iterator[int]:
    """A server with this handler; gives its port."""
    with LocalServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()

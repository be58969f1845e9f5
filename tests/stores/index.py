"""A package index on loopback, which serves the wheels of a folder."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Index:
    """What it serves, and what it was asked."""

    folder: Path
    user: str = ""
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Its address, with credentials where it demands them."""
        who = f"{self.user}@" if self.user else ""
        return f"http://{who}127.0.0.1:{self.port}/simple"

    def page(self, name: str) -> str:
        """Return the links of a package: empty where there is none."""
        files = sorted(self.folder.glob(f"{name.replace('-', '_')}-*"))
        return "".join(
            f'<a href="/files/{one.name}#sha256={digest(one)[7:]}">{one.name}</a>\n'
            for one in files
        )


def digest(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def served(  # noqa: C901  it holds a class
    folder: Path, user: str = "", until: threading.Event | None = None
) -> Iterator[Index]:
    """Serve the wheels of a folder; with a user, to nobody else; not until something happens."""
    index = Index(folder, user)
    wanted = "Basic " + base64.b64encode(user.encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            index.asked.append(self.path)
            if until:
                until.wait(60)
            if user and self.headers.get("Authorization") != wanted:
                self.reply(401, b"", "text/plain")
            elif parts[0] == "simple" and (page := index.page(parts[1])):
                self.reply(200, f"<!DOCTYPE html><body>{page}</body>".encode(), "text/html")
            elif parts[0] == "files" and (folder / parts[1]).is_file():
                self.reply(200, (folder / parts[1]).read_bytes(), "application/octet-stream")
            else:
                self.reply(404, b"", "text/plain")

        do_HEAD = do_GET  # noqa: N815  as `http.server` calls it

        def reply(self, status: int, data: bytes, kind: str) -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                with suppress(OSError):  # who asked is gone
                    self.wfile.write(data)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

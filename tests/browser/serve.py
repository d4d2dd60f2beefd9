"""The site, served by a process of its own on a port that is free; it prints the port."""

from __future__ import annotations

import django
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler


def main() -> None:
    django.setup()
    server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
    server.set_app(StaticFilesHandler(WSGIHandler()))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""Serve the page: a socket of its own, nothing from outside, no request that is too large."""

import contextlib
import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

import fastapi
import gradio as gr
import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infogan.commands.explore.uploads import MAX_BYTES
from infogan.errors import ConfigurationError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Base64 makes a drawing a third longer, and a form has a head.
MAX_BODY = MAX_BYTES * 4 // 3 + 2**16
# Gradio's page has inline scripts and builds functions from text; what it loads is its own.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)


class Guard:
    """Lets through what the page itself asks for, and keeps the browser from asking elsewhere.

    Args:
        app: The application behind.
        local: Whether only this machine is served; then no other name may lead here.
    """

    def __init__(self, app: ASGIApp, local: bool) -> None:
        self.app = app
        self.local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        refusal = self.refusal(scope["method"], Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, send_with_policy)
        else:
            code, reason = refusal
            await PlainTextResponse(reason, code)(scope, receive, send_with_policy)

    def refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Return status and reason, if a request is refused."""
        host = headers.get("host", "")
        if self.local and urlsplit(f"//{host}").hostname not in LOOPBACK:
            return 400, "the explorer answers to this machine's own name only"
        if method != "POST":
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "the explorer answers to its own page only"
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return 411, "the request does not say how long it is"
        if int(length) > MAX_BODY:
            return 413, f"the limit is {MAX_BYTES / 2**20:g} MB"
        return None


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; port 0 takes any free one.

    Raises:
        ConfigurationError: If the address cannot be had.
    """
    if not 0 <= port <= 65535:
        raise ConfigurationError(f"port={port} is no port: give 1 to 65535, or 0 for any free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        # Without it a port is taken for a minute after its last user has left.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            # Now, so that a browser may come before the application is ready.
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"host={host}, port={port} cannot be served on ({error.strerror}); give another --host "
            "or --port, or port 0 for any free one"
        ) from error
    return listener


def application(page: gr.Blocks, local: bool) -> fastapi.FastAPI:
    """Return the page as an application.

    Args:
        page: The page.
        local: Whether only this machine is served.
    """
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # Gradio's own themes name fonts of a font service, and their gray text is hard to read.
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]).set(
        body_text_color_subdued="*neutral_500", block_info_text_color="*neutral_500"
    )
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=theme,
        css_paths=Path(__file__).with_name("page.css"),
        footer_links=[],
        run_history=False,
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
    )
    app.add_middleware(Guard, local=local)
    return app


def server(app: fastapi.FastAPI) -> uvicorn.Server:
    """Return a server that ends at once and silently when told to."""
    # A page that stays open keeps a connection open: do not wait for it, nor report that it broke.
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    running = uvicorn.Server(config)
    logging.getLogger("uvicorn.error").addFilter(lambda _: not running.should_exit)
    return running


def serve(page: gr.Blocks, listener: socket.socket, local: bool) -> None:
    """Answer requests until the program is told to stop, by a signal or Ctrl-C."""
    # uvicorn ends in order, and then repeats the signal that told it to.
    with contextlib.suppress(KeyboardInterrupt):
        server(application(page, local)).run(sockets=[listener])

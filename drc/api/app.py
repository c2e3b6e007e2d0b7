"""Building the API and running it."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

from drc import __version__, fleet, sshca, trace
from drc.api import (
    audit,
    certificates,
    clicks,
    conduct,
    events,
    fleetwide,
    handlers,
    idle,
    images,
    keys,
    limits,
    logs,
    metrics,
    owners,
    request,
    sessions,
    sweep,
    targets,
    tokens,
    troubles,
    use,
    vessels,
)
from drc.api.access import Here, Routes
from drc.api.capacity import Capacity
from drc.api.context import Context
from drc.api.doorbell import Doorbell
from drc.api.measured import Measured
from drc.api.problems import RESPONSES
from drc.api.provider import Provider
from drc.api.queue import serve_queue
from drc.api.roles import Roles
from drc.api.stream import Stream
from drc.api.waker import Waker
from drc.auth import Verifier
from drc.config import ApiSettings, LoginSettings
from drc.db import Database, migrate
from drc.fleet import Announced
from drc.secret import Secrets
from drc.sshca import Authority

MODULES = (
    *(sessions, tokens, keys, certificates, owners, audit),
    *(vessels, use, idle, clicks, logs, fleetwide, troubles, images, targets, events, conduct),
)
"""Whose routes the API has, beside its own."""

operations = Routes("operations")


@operations.get("/metrics", "metrics:read", response_class=PlainTextResponse)
def read_metrics(here: Here) -> Response:
    return Response(metrics.render(here.db), media_type="text/plain; version=0.0.4")


def open_context(settings: ApiSettings) -> Context:
    """Connects, and starts the doorbell and the event reader. Raises Misconfigured, Unreachable."""
    secrets, roles = Secrets.load(settings.secret), Roles(settings.login.roles)
    verifier = Verifier.load(settings.keys, secrets.public_keys())
    if settings.migrate_url:
        migrate(settings.migrate_url.shown)
    db = Database(settings.database_url.shown, name="drc-api")
    fleet.make_audit_partitions(db)
    doorbell, stream, waker = Doorbell(db), Stream(db), Waker()
    measured = Measured(settings.prometheus) if settings.prometheus else None
    measuring = [measured.close] if measured else []
    context = Context(
        db=db,
        verifier=verifier,
        secrets=secrets,
        users=Authority.load(settings.keys, sshca.USER),
        vessels=Authority.load(settings.keys, sshca.HOST),
        doorbell=doorbell,
        stream=stream,
        capacity=Capacity(db),
        waker=waker,
        default_image=settings.image,
        login=settings.login,
        roles=roles,
        measured=measured,
        provider=provider_of(settings.login),
        closers=[waker.close, stream.close, doorbell.close, db.close, *measuring],
    )
    waker.start(lambda: serve_queue(context))
    return context


def provider_of(login: LoginSettings) -> Provider | None:
    if not login.issuer or not login.client_id:
        return None
    return Provider(login.issuer, login.client_id)


def create_app(context: Context) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        for close in context.closers:
            close()

    app = FastAPI(
        title="drc", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.context = context

    @app.get("/health", tags=["operations"], responses=RESPONSES)
    def health() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        """No token needed: whether the API answers and reaches its database."""
        fleet.read_now(context.db)
        return {"status": "ok", "version": __version__}

    for module in MODULES:
        app.include_router(module.routes.router)
    app.include_router(operations.router)
    handlers.install(app)
    app.add_middleware(limits.Guard)
    app.add_middleware(request.Identified)
    app.add_middleware(audit.Acting)
    return app


def serve(settings: ApiSettings) -> None:
    import uvicorn

    context = open_context(settings)
    if settings.metrics_at:
        address, tls = settings.metrics_at
        name = f"{socket.gethostname()}:{settings.port}"
        context.announced = Announced("api", name, address, tls)
    context.closers.append(trace.end)  # uvicorn ends by the signal that it was sent
    sweep.start(context)
    certificate, key = settings.tls or (None, None)
    server = uvicorn.Config(
        create_app(context),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        log_config=None,  # its lines are written as ours are
        timeout_graceful_shutdown=3,
        proxy_headers=settings.proxy is not None,
        forwarded_allow_ips=settings.proxy,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(server).run()

"""Errors on their way out: each becomes a problem, and a refusal is written down."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from drc.api import audit
from drc.api.context import context_of
from drc.api.problems import HEADERS, of_error, problem
from drc.db import actor
from drc.errors import BadInput, DrcError, TooMany
from drc.log import HEADER, bound, new_request

log = logging.getLogger("drc.api")


def refused(request: Request, failed: DrcError) -> JSONResponse:
    """The answer, once it is written down; a database that is away is no reason not to give it."""
    if failed.http_status < 500 and audit.is_strange():
        try:
            context_of(request).strangers.take(actor().get("address", ""))
        except TooMany as too_many:
            return of_error(too_many)  # good tokens from there are still heard
    try:
        audit.note_refusal(request, failed)
    except DrcError as trouble:
        log.warning("not audited: %s %s: %s", request.method, failed.code, trouble)
    return of_error(failed)


def install(app: FastAPI) -> None:
    @app.exception_handler(DrcError)
    def expected(request: Request, failed: DrcError) -> JSONResponse:
        return refused(request, failed)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, failed: RequestValidationError) -> JSONResponse:
        first = failed.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "The request"
        return refused(request, BadInput(f"{where}: {first['msg']}."))

    @app.exception_handler(HTTPException)
    def http(_: Request, failed: HTTPException) -> JSONResponse:
        return problem(failed.status_code, f"http-{failed.status_code}", str(failed.detail))

    @app.exception_handler(Exception)
    def bug(request: Request, failed: Exception) -> JSONResponse:
        id = request.scope.get("request_id") or new_request()
        with bound(request=id):  # this is outside of what bound it
            log.exception("%s %s", request.method, request.url.path, exc_info=failed)
            answer = problem(500, "bug", "The API met a bug; its log has the details.")
        answer.headers.update({**HEADERS, HEADER: id})
        return answer

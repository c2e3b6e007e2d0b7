"""Errors on the wire: RFC 9457 problem details, with the family's code and hint."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from drc.api.metrics import ERRORS
from drc.errors import DrcError
from drc.log import bound_request

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What every answer tells browsers (limits.Guard; a bug's is sent from outside of it)."""


class Problem(BaseModel):
    """RFC 9457: what went wrong, in words for people."""

    type: str = "about:blank"
    status: int
    title: str
    code: Annotated[str, Field(description="the error's name, for programs")]
    hint: Annotated[str, Field(description="what to type or do")] = ""
    request_id: Annotated[str, Field(description="by which the API's log knows it")] = ""


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": words,
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
    for status, words in (("4XX", "Refused, and why."), ("503", "Something does not answer."))
}
"""What each operation's part of the OpenAPI document says of problems."""


def problem(status: int, code: str, message: str, hint: str = "") -> JSONResponse:
    ERRORS.labels(code).inc()
    # a message may quote what was sent, and JSON can spell halves of letters, which UTF-8 cannot
    message = message.encode(errors="replace").decode()
    body: dict[str, Any] = {"type": "about:blank", "status": status, "title": message, "code": code}
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if hint:
        body["hint"] = hint
    if request := bound_request():
        body["request_id"] = request
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def of_error(failed: DrcError) -> JSONResponse:
    return problem(failed.http_status, failed.code, failed.message, failed.hint)

"""The family of errors: each has its own code, and comes back from its code as what it was."""

import pytest

from drc.errors import (
    ApiUnreachable,
    BadInput,
    DrcError,
    Misconfigured,
    NothingFits,
    Refused,
    Unreachable,
    code_of,
    family,
    of_code,
)


def everyone(kind: type[DrcError] = DrcError) -> list[type[DrcError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in everyone(child))]


def test_codes_are_unique() -> None:
    codes = [code_of(kind) for kind in everyone()]
    assert len(set(codes)) == len(codes) == len(family())


@pytest.mark.parametrize("kind", everyone(), ids=code_of)
def test_an_error_comes_back_from_its_code(kind: type[DrcError]) -> None:
    came = of_code(kind().code, "A sentence.", "a hint")
    assert (type(came), came.message, came.hint) == (kind, "A sentence.", "a hint")


@pytest.mark.parametrize("kind", everyone(), ids=code_of)
def test_an_error_without_a_message_says_its_docstring(kind: type[DrcError]) -> None:
    assert kind().message == kind.__doc__
    assert kind().message.endswith(".")
    assert kind("Other.").message == str(kind("Other.")) == "Other."


@pytest.mark.parametrize("kind", everyone(), ids=code_of)
def test_the_branch_decides_the_exit_status_and_the_kind_of_http_status(
    kind: type[DrcError],
) -> None:
    branches = {Refused: (1, 4), Unreachable: (4, 5), Misconfigured: (5, 5), DrcError: (1, 5)}
    exit_code, hundreds = next(v for branch, v in branches.items() if issubclass(kind, branch))
    assert (kind.exit_code, kind.http_status // 100) == (exit_code, hundreds)


def test_an_unknown_code_is_still_an_error_with_its_sentence() -> None:
    came = of_code("from-the-future", "A sentence.")
    assert (type(came), came.message) == (DrcError, "A sentence.")


def test_a_code_is_the_name_in_kebab_case() -> None:
    assert [code_of(kind) for kind in (NothingFits, BadInput, ApiUnreachable)] == [
        "nothing-fits",
        "bad-input",
        "api-unreachable",
    ]

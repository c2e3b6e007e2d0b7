"""How the product's statements are run by Postgres once they are prepared: with a generic plan."""

import json
import re
from collections.abc import Mapping
from typing import Any

import psycopg

from drc.db import statement


def numbered(name: str) -> tuple[str, list[str]]:
    """A statement with `$1`, `$2` … for its parameters, and their names in that order."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    text = re.sub(r"--.*", "", statement(name).decode())
    return re.sub(r"%\((\w+)\)s", number, text), names


def generic_plan(
    connection: psycopg.Connection[Any], name: str, values: Mapping[str, str]
) -> dict[str, Any]:
    """The plan of one run, with its buffers; `values` are SQL expressions. The run takes place."""
    text, names = numbered(name)
    connection.execute("SET plan_cache_mode = force_generic_plan")
    connection.execute(f"PREPARE looked_at AS {text}".encode())
    arguments = ", ".join(values[name] for name in names)
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE looked_at({arguments})"
    (answer,) = connection.execute(explain.encode()).fetchone() or ("[]",)
    connection.execute("DEALLOCATE looked_at")
    connection.execute("RESET plan_cache_mode")
    plans = json.loads(answer) if isinstance(answer, str) else answer
    return plans[0]["Plan"]


def pages(plan: Mapping[str, Any], part: str) -> int:
    """The pages that one named part of a plan touched, with what lies below it."""
    if plan.get("Subplan Name") == f"CTE {part}":
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    found = [pages(child, part) for child in plan.get("Plans", [])]
    return max(found, default=0)

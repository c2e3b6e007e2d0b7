"""Which host a vessel would be given, and why not the others."""

from typing import Annotated, Any

from drc.cli import complete
from drc.cli.vessels import Json, name_offering


def why_not(name: Annotated[str, name_offering(complete.waiting)], json: Json = False) -> None:
    """Why a vessel still waits: for each host, why it is not there."""
    from drc.cli.account import get, print_json
    from drc.cli.look import count, say

    plan = get(f"/v1/vessels/{name}/why-not")
    if json:
        return print_json(plan)
    print_plan(plan)
    if plan["never"]:
        return say(plan["never"], fg="red")
    if plan["ahead"] > 0:
        waits = "waits for the same and is" if plan["ahead"] == 1 else "wait for the same and are"
        return say(f"{count(plan['ahead'], 'vessel')} {waits} served before it.")
    return None


def show_plan(request: dict[str, Any], *, json: bool) -> None:
    """What `drc create --plan` prints. Raises NothingFits for what no host could ever hold."""
    from drc.cli.account import client, print_json
    from drc.cli.look import count, say
    from drc.errors import NothingFits

    plan = client().call("POST", "/v1/vessels/plan", request)
    if json:
        return print_json(plan)
    print_plan(plan)
    if plan["never"]:
        raise NothingFits(plan["never"])
    if plan["ahead"]:
        waits = "waits" if plan["ahead"] == 1 else "wait"
        return say(f"It would wait: {count(plan['ahead'], 'vessel')} {waits} for the same already.")
    if plan["waits_for"]:
        return say(f"It would wait for {plan['waits_for']}.")
    return say("Nothing was reserved.", dim=True)


def print_plan(plan: dict[str, Any]) -> None:
    from drc.cli.look import table

    rows = [
        [
            verdict["host"],
            "taken" if verdict["taken"] else "no" if verdict["reason"] else "fits",
            verdict["reason"] or verdict["home"],
        ]
        for verdict in plan["verdicts"]
    ]
    table(["HOST", "PLAN", "WHY"], rows)

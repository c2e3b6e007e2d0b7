"""Looking at the fleet."""

from drc.cli.vessels import Json


def gpus(json: Json = False) -> None:
    """Every GPU: where it is, who holds it."""
    from drc.cli.account import get, print_json
    from drc.cli.look import say, table
    from drc.machine import show_card

    found = get("/v1/gpus")
    if json:
        return print_json(found)
    if not found:
        return say("There are no GPUs.")
    rows = [
        [
            gpu["host"],
            str(gpu["index"]),
            gpu["model"],
            show_card(gpu["memory_mib"]) + (" simulated" if gpu["simulated"] else ""),
            gpu["state"] or "free",
            f"{gpu['vessel']} of {gpu['owner']}" if gpu["vessel"] else "-",
        ]
        for gpu in found
    ]
    table(["HOST", "GPU", "MODEL", "MEMORY", "STATE", "VESSEL"], rows)
    free = sum(gpu["state"] is None for gpu in found)
    return say(f"{free} of {len(found)} are free.", dim=True)

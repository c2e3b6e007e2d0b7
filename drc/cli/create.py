"""`drc create`: ask, then follow the vessel until it can be entered."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from drc.cli import complete

if TYPE_CHECKING:
    from collections.abc import Iterator

ASK = typer.Option
TRIES = 3  # of the request; the idempotency key makes the same vessel of each


def create(
    name: Annotated[str | None, typer.Argument(help="Left out, one is found for you.")] = None,
    gpus: Annotated[
        int | None, ASK(metavar="N", help="How many GPUs; 0 for none. Default: 1.")
    ] = None,
    gpu: Annotated[
        list[str] | None,
        ASK(
            metavar="MODEL",
            help="As a100 or rtx4090; given several times, any of them.",
            autocompletion=complete.models,
        ),
    ] = None,
    gpu_memory: Annotated[str | None, ASK(metavar="SIZE", help="At least, per GPU: 40GB.")] = None,
    cpus: Annotated[
        float | None, ASK(metavar="N", help="Default: the host's share per GPU.")
    ] = None,
    memory: Annotated[
        str | None, ASK(metavar="SIZE", help="64GB. Default: the host's share per GPU.")
    ] = None,
    shm: Annotated[
        str | None, ASK(metavar="SIZE", help="Of /dev/shm. Default: half the memory.")
    ] = None,
    image: Annotated[
        str | None, ASK(metavar="IMAGE", help="Any of Debian or Ubuntu. Default: drc's own.")
    ] = None,
    env: Annotated[list[str] | None, ASK(metavar="K=V", help="May be given several times.")] = None,
    lifetime: Annotated[str | None, ASK(metavar="SPAN", help="12h, 2d, 1w. Default: 7d.")] = None,
    host: Annotated[
        str | None,
        ASK(metavar="HOST", help="This host and no other.", autocompletion=complete.hosts),
    ] = None,
    share: Annotated[
        str | None,
        ASK(
            metavar="NAME",
            help="The GPUs of this other vessel of yours.",
            autocompletion=complete.living,
        ),
    ] = None,
    like: Annotated[
        str | None,
        ASK(
            metavar="NAME",
            help="As this vessel of yours, image and all; what you say beside it wins.",
            autocompletion=complete.ever,
        ),
    ] = None,
    come_back: Annotated[
        str | None,
        ASK(
            "--from",
            metavar="NAME",
            help="As --like, with all that was in it when it was buried, or stopped with --save.",
            autocompletion=complete.ever,
        ),
    ] = None,
    home_from: Annotated[
        str | None,
        ASK(
            metavar="HOST",
            help="Your home there comes along, wherever the vessel goes.",
            autocompletion=complete.hosts,
        ),
    ] = None,
    queue: Annotated[
        list[str] | None,
        ASK(
            metavar="QUEUE",
            help="Given several times, any of them.",
            autocompletion=complete.queues,
        ),
    ] = None,
    plan: Annotated[
        bool, ASK("--plan", help="Show which host it would get, and why not the others.")
    ] = False,
    wait: Annotated[bool, ASK("--wait/--no-wait", help="Follow it until it runs.")] = True,
    json: Annotated[bool, ASK("--json", help="The API's own answer on stdout.")] = False,
) -> None:
    """Create a vessel: your own container with its GPUs, SSH, Jupyter and your home."""
    if cpus is not None and not 0 < cpus <= 4096:  # nan and inf among them, which JSON has not
        from drc.errors import BadInput

        raise BadInput(f"{cpus:g} is not a number of CPUs that a host can have.")
    request = {
        "name": name,
        "gpus": 1 if gpus is None and like is None and come_back is None else gpus,
        "gpu": gpu or [],
        "gpu_memory": gpu_memory,
        "cpus": cpus,
        "memory": memory,
        "shm": shm,
        "image": image,
        "env": parse_env(env or []),
        "lifetime": lifetime,
        "host": host,
        "queue": queue or [],
        "share": share,
        "like": like,
        "come_back": come_back,
        "home_from": home_from,
    }
    if like is not None or come_back is not None:  # what is not said is as it was there
        request = {key: value for key, value in request.items() if value not in (None, [], {})}
    if plan:
        from drc.cli.plan import show_plan

        return show_plan(request, json=json)
    run(request, wait=wait, json=json)
    return None


def parse_env(pairs: list[str]) -> dict[str, str]:
    from drc.errors import BadInput

    env: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"“{pair}” has no value.", hint=f"--env {pair}=VALUE")
        env[key] = value
    return env


def run(request: dict[str, Any], *, wait: bool = True, json: bool = False) -> dict[str, Any]:
    """Create and, if wanted, follow. Returns the vessel as it is then. Raises StartFailed."""
    from drc.cli import sshconfig
    from drc.cli.account import get, print_json
    from drc.cli.look import say
    from drc.cli.progress import Progress

    try:
        vessel = send(request)
    except KeyboardInterrupt:
        say("\nInterrupted before the answer came.  drc list  shows whether it was created.")
        raise
    name = vessel["name"]
    if wait:
        progress = Progress(vessel, quiet=json)
        try:
            sshconfig.offer_include()
            progress.begin()
            follow(vessel, progress)
        except (KeyboardInterrupt, typer.Abort):  # the latter at a question
            progress.close()
            say(
                f"\n{name} goes on without you.  drc show {name}  finds it, "
                f" drc stop {name}  ends it."
            )
            raise KeyboardInterrupt from None
        finally:
            progress.close()
        vessel = get(f"/v1/vessels/{name}")
    if json:
        print_json(vessel)
    elif not wait:
        print(f"{name}  {vessel['state']}")
    return vessel


def send(request: dict[str, Any]) -> dict[str, Any]:
    """The request, again when its answer was lost: the key lets it make one vessel only."""
    import secrets

    from drc.cli.account import client
    from drc.errors import ApiUnreachable

    key = secrets.token_urlsafe(18)
    for left in reversed(range(TRIES)):
        try:
            return client().call("POST", "/v1/vessels", request, headers={"Idempotency-Key": key})
        except ApiUnreachable as failed:
            if not left or "connection" not in failed.message.lower():
                raise
    raise AssertionError("the last try returns or raises")


def follow(vessel: dict[str, Any], progress: Any) -> None:
    """Until it runs. The SSH configuration is written as soon as the address is known."""
    from drc.cli import sshconfig
    from drc.errors import StartFailed

    for event in events_of(vessel):
        kind = event["kind"]
        if kind in ("image_ready", "joined"):
            sshconfig.sync()
        progress.step(event)
        if kind == "running":
            return
        if kind == "stopping" or kind in ("buried", "failed"):
            raise StartFailed(
                f"{vessel['name']} ended: {event.get('reason') or 'no reason was given'}",
                hint=f"drc logs {vessel['name']}",
            )


def events_of(vessel: dict[str, Any]) -> "Iterator[dict[str, Any]]":
    from drc.cli.account import client

    for event in client().events(after="0-0", vessel=vessel["name"]):
        if event["vessel_id"] == vessel["id"]:
            yield event

"""The tests' control server and Tailscale's own programs, built from source."""

from functools import cache
from pathlib import Path

from tests.go.build import built, words

SERVER = Path(__file__).with_name("server")
OMITTED = """
    ace acme advertiseexitnode advertiseroutes appconnectors aws bakedroots bird cachenetmap
    captiveportal capture cliconndiag clientupdate cloud colorable completion completion_scripts
    conn25 dbus debugeventbus debugportmapper desktop_sessions doctor drive identityfederation kube
    logtail netlog networkmanager oauthkey outboundproxy posture qrcodes relayserver resolved
    routecheck runtimemetrics sdnotify serve ssh synology syspolicy systray taildrop tailnetlock tap
    tpm tundevstats useexitnode wakeonlan webbrowser webclient
""".split()
"""What Tailscale's programs can be built without, and no test asks for: 19 MB instead of 43, and
half the time to build them. What concerns joining, traffic and packet filters is all there."""


@cache
def binaries() -> Path:
    """A folder with the static programs `tailnet`, `tailscaled` and `tailscale`.

    The last is a link: the program knows by its name which of the two it is. RuntimeError: they
    could not be built.
    """
    packages = (".", "tailscale.com/cmd/tailscaled")
    return built(SERVER, "tailnet", packages, build_options(), link)


def link(folder: Path) -> None:
    (folder / "tailscale").symlink_to("tailscaled")


def build_options() -> list[str]:
    tags = ["ts_include_cli", *(f"ts_omit_{name}" for name in OMITTED)]
    version = words(r"tailscale\.com v(\S+)$", (SERVER / "go.mod").read_text())
    stamps = [f"-X tailscale.com/version.{name}Stamp={version}" for name in ("short", "long")]
    return [f"-tags={','.join(tags)}", f"-ldflags=-s -w {' '.join(stamps)}"]

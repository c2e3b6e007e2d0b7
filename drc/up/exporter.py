"""What dcgm-exporter would say of GPUs that are only simulated: its exposition, over HTTP.

`python -m drc.up.exporter PORT USAGE`. How busy each GPU is stands in the JSON file USAGE, by UUID
and in per cent; one that is not in it does nothing.

Source of the format: dcgm-exporter 4.5.3-4.8.2, its template and default-counters.csv.
"""

import http.server
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from drc import fleet
from drc.config import need_secret
from drc.db import Database, Row
from drc.errors import DrcError

FAMILIES = {
    "DCGM_FI_DEV_GPU_TEMP": "GPU temperature (in C).",
    "DCGM_FI_DEV_POWER_USAGE": "Power draw (in W).",
    "DCGM_FI_DEV_GPU_UTIL": "GPU utilization (in %).",
    "DCGM_FI_DEV_XID_ERRORS": "Value of the last XID error encountered.",
    "DCGM_FI_DEV_FB_FREE": "Framebuffer memory free (in MiB).",
    "DCGM_FI_DEV_FB_USED": "Framebuffer memory used (in MiB).",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": "Ratio of time the graphics engine is active.",
}


def render(gpus: Iterable[Row], usage: Mapping[str, float]) -> str:
    """Prometheus' text format."""
    told = [(labels_of(gpu), values_of(gpu, usage.get(gpu["uuid"], 0.0))) for gpu in gpus]
    lines: list[str] = []
    for family, what in FAMILIES.items():
        lines += [f"# HELP {family} {what}", f"# TYPE {family} gauge"]
        lines += [f"{family}{{{labels}}} {values[family]:g}" for labels, values in told]
    return "\n".join(lines) + "\n"


def labels_of(gpu: Row) -> str:
    index = gpu["index"]
    return (
        f'gpu="{index}",UUID="{gpu["uuid"]}",pci_bus_id="00000000:{index:02X}:00.0",'
        f'device="nvidia{index}",modelName="{gpu["name"]}",Hostname="{gpu["host"]}"'
    )


def values_of(gpu: Row, percent: float) -> dict[str, float]:
    used = round(gpu["memory_mib"] * percent / 125)
    return {
        "DCGM_FI_DEV_GPU_TEMP": 30 + percent / 2,
        "DCGM_FI_DEV_POWER_USAGE": 50 + 4 * percent,
        "DCGM_FI_DEV_GPU_UTIL": percent,
        "DCGM_FI_DEV_XID_ERRORS": 0,
        "DCGM_FI_DEV_FB_FREE": gpu["memory_mib"] - used,
        "DCGM_FI_DEV_FB_USED": used,
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE": percent / 100,
    }


def read_usage(file: Path) -> dict[str, float]:
    try:
        return {str(uuid): float(busy) for uuid, busy in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_usage(file: Path, usage: Mapping[str, float]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(dict(usage)))
    fresh.replace(file)


def server(port: int, told: Callable[[], str]) -> http.server.ThreadingHTTPServer:
    """On loopback; `told` is asked at each scrape, and what it raises is a 503."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = 200, "KO" if self.path != "/health" else "OK"
            if self.path == "/metrics":
                try:
                    body = told()
                except DrcError as failed:
                    status, body = 503, failed.message
            elif self.path != "/health":
                status = 404
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    port, usage = int(sys.argv[1]), Path(sys.argv[2])
    url = need_secret(os.environ, "DRC_DATABASE_URL").shown
    db = Database(url, size=2, name="drc-exporter")
    server(port, lambda: render(fleet.list_simulated(db), read_usage(usage))).serve_forever()


if __name__ == "__main__":
    main()

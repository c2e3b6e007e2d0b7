"""dcgm-exporter, as a program: of the cards that a machine of the tests lists (machine.py).

`python3 dcgm.py FOLDER`: `cards` there are nvidia-smi's lines, `xids` the last XID by UUID (JSON).
Source of the format: dcgm-exporter 4.5.3-4.8.2, its template and default-counters.csv.
"""

import http.server
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
LABELS = (
    'gpu="{n}",UUID="{uuid}",pci_bus_id="00000000:8{n}:00.0",device="nvidia{n}",'
    'modelName="{model}",Hostname="gpu2"'
)


def told() -> str:
    xids = json.loads((folder / "xids").read_text())
    listed = (folder / "cards").read_text().splitlines()
    cards = [line.split(", ") for line in listed if "GPU-" in line]
    lines: list[str] = []
    for family, values, usual in (
        ("DCGM_FI_DEV_GPU_TEMP", {}, 40),
        ("DCGM_FI_DEV_XID_ERRORS", xids, 0),
    ):
        lines += [f"# HELP {family} of a GPU.", f"# TYPE {family} gauge"]
        for n, uuid, model, *_ in cards:
            labels = LABELS.format(n=n, uuid=uuid, model=model)
            lines.append(f"{family}{{{labels}}} {values.get(uuid, usual)}")
    return "\n".join(lines) + "\n"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = told().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 9400), Handler)
    print("up", flush=True)
    server.serve_forever()

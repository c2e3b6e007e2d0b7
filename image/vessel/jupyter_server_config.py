"""JupyterLab in a vessel: one user, one token; on loopback, and in a tailnet on its address too."""

from pathlib import Path

# Only SystemExit stops the server: after any other exception here it would go on without this
# file. An empty token would switch authentication off.
try:
    token = Path("/run/drc/jupyter_token").read_text().strip()
except OSError as unreadable:
    raise SystemExit(f"no Jupyter without its token: {unreadable}") from None
if not token:
    raise SystemExit("no Jupyter without its token: /run/drc/jupyter_token is empty")

c = get_config()  # noqa: F821

address = Path("/run/drc/jupyter_address")
c.ServerApp.ip = address.read_text().strip() if address.exists() else "127.0.0.1"
# People come by its address or its name there; who may is the tailnet's policy's matter.
c.ServerApp.allow_remote_access = address.exists()
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.root_dir = str(Path.home())
c.ServerApp.open_browser = False
# The plain provider knows the token and nothing else: no password can be set beside it.
c.ServerApp.identity_provider_class = "jupyter_server.auth.identity.IdentityProvider"
c.IdentityProvider.token = token
c.Application.log_level = "WARN"
# The owner cannot install into /opt/jupyter, only beside it with pip; the manager costs 60 ms at
# every start.
c.LabApp.extension_manager = "readonly"
# No question to the outside when somebody opens the page.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"

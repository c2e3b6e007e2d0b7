"""JupyterLab in a vessel: one user, one token, loopback only."""

from pathlib import Path

token = Path("/run/drc/jupyter_token").read_text().strip()
if not token:
    # An empty token would switch authentication off.
    raise SystemExit("/run/drc/jupyter_token is empty")

c = get_config()  # noqa: F821

c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.root_dir = str(Path.home())
c.ServerApp.open_browser = False
# The plain provider knows the token and nothing else: no password can be set beside it.
c.ServerApp.identity_provider_class = "jupyter_server.auth.identity.IdentityProvider"
c.IdentityProvider.token = token
c.Application.log_level = "WARN"
# No question to the outside when somebody opens the page.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"

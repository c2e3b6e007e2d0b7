"""`python -m drc.api`: one API process, configured by the environment (docs/configuration.md)."""

import os
import sys

from drc import trace
from drc.api.app import serve
from drc.config import api_settings
from drc.errors import DrcError
from drc.log import begin


def main() -> int:
    try:
        begin()
        trace.begin("drc-api")
        serve(api_settings(os.environ))
    except DrcError as failed:
        print(failed.message, failed.hint, file=sys.stderr)  # noqa: T201
        return failed.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

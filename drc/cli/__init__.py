"""The command line: parse, call the API, print. It speaks HTTP only.

Modules are imported where they are used, not at the top: `drc --help` has to be there at once.
"""


def main() -> None:
    from drc.cli.app import app

    app()

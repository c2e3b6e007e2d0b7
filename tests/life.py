"""The truth table of a vessel's life, written out by hand: what each verb does in each state.

It stands here a second time, apart from `drc.vessel`, so that neither the table there nor the
statements under sql/ can change without somebody changing this too.
"""

from drc.vessel import State, Verb

_TABLE = """
              place     start     run      lose         find     stop      fail      absent
queued        reserved  -         -        -            -        buried    -         -
reserved      -         starting  -        -            -        stopping  stopping  -
starting      -         -         running  -            -        stopping  stopping  -
running       -         -         -        unreachable  -        stopping  stopping  -
unreachable   -         -         -        -            running  stopping  stopping  -
stopping      -         -         -        -            -        -         -         outcome
buried        -         -         -        -            -        -         -         -
failed        -         -         -        -            -        -         -         -
"""


def _pairs() -> dict[tuple[State, Verb], str]:
    head, *lines = _TABLE.strip().splitlines()
    table: dict[tuple[State, Verb], str] = {}
    for line in lines:
        state, *cells = line.split()
        for verb, cell in zip(head.split(), cells, strict=True):
            table[State(state), Verb(verb)] = cell
    return table


TRUTH = _pairs()
"""Where each verb leads: a state, `outcome` (buried or failed, as it was ended), or `-`."""

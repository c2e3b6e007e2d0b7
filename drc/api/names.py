"""Names for vessels whose owner did not mind: `calm-otter`; and names that were meant."""

import difflib
import secrets
from collections.abc import Sequence

ADJECTIVES = """
able agile amber ample apt azure bold brave breezy bright brisk calm candid clear clever cosy crisp
curious daring deft eager early easy fair fine fleet fond frank fresh gentle glad golden good grand
green happy hardy hazel honest jolly keen kind light lively loyal lucid lucky mellow merry mild
modest neat nimble noble patient plucky polite prime proud quick quiet rapid ready rosy royal sharp
silver smart snug sober solid sound spry steady still sunny swift tidy true trusty upbeat vivid warm
wise witty young zesty
""".split()
ANIMALS = """
auk badger bat bear beaver bee bison bream carp cat civet cod condor coot crab crane crow cub curlew
deer dingo dove duck eagle eel egret elk emu falcon finch fox frog gecko goat goose gull hare hawk
heron hoopoe horse ibex ibis jackdaw jay kestrel kite kiwi koala lark lemur lion llama loon lynx
magpie marten mole moose moth mouse newt otter owl panda perch pike plover puffin puma quail raven
robin rook seal shrew skua sloth snipe sparrow stoat stork swan swift tapir tern thrush tiger toad
trout vole wasp whale wolf wombat wren yak zebra
""".split()


def invent_name() -> str:
    """One of some nine thousand; an owner's living vessels are few."""
    return f"{secrets.choice(ADJECTIVES)}-{secrets.choice(ANIMALS)}"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant by one that is none."""
    return next(iter(difflib.get_close_matches(name, known, 1)), None)

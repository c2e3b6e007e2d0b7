"""What hardware is called and how much of it there is: pure functions on names and sizes.

Memory is in MiB everywhere inside. What people type is in the units they type: `GB` is 10⁹ bytes,
as on the card's box, `GiB` is 2³⁰. A card's marketing size matches: 80GB takes an H100 that
reports 81,559 MiB, 24GB an RTX 3090 that reports 24,564 MiB.
"""

import re
from datetime import timedelta

from drc.errors import BadInput

MIB = 2**20
UNITS = {
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
DURATIONS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

_VENDOR_WORDS = re.compile(r"\b(nvidia|amd|geforce|quadro|tesla|graphics|gpu|instinct)\b")
_MODEL = re.compile(
    r"""
    (?P<family> rtx\s*pro | rtx\s*a? | gtx | titan | mi | gh | gb | [a-z] )   # rtx 4090, a100, h100
    \s* (?P<number> \d{1,4} | v | xp | x )
    (?P<suffix> (?: \s* (?: ti\s*super | super | ti | s | d | g | x | ada ) \b )* )
    """,
    re.VERBOSE,
)


_PROFILE = re.compile(r"\b\d+g\.\d+gb(\+[a-z0-9.]+)?")


def model_key(name: str) -> str:
    """The one spelling of a GPU model: `NVIDIA A100-SXM4-80GB` → `a100`, `RTX 4080 SUPER` →
    `rtx4080super`. Memory, form factor and vendor fall away; a suffix that makes another chip stays
    (l40 ≠ l40s). A slice of a card (MIG) keeps its profile: `a100-1g.10gb`. A bare GeForce number
    (`4090`) is read as RTX. A name that follows no known pattern is squeezed to letters and digits,
    so that it can still be asked for.
    """
    slice = _PROFILE.search(name.lower())
    if slice:
        card = model_key(name[: slice.start()].replace(":", " "))
        return f"{card.removesuffix('mig')}-{slice[0]}".removeprefix("-")
    text = _VENDOR_WORDS.sub(" ", name.lower().replace("_", " "))
    text = re.sub(r"\b\d+\s*(gb|gib)\b", " ", text).replace("-", " ")
    text = " ".join(text.split())
    if re.match(r"^[2-5]0\d0(\s*(ti|super))*$", text):
        text = "rtx" + text
    found = _MODEL.match(text)
    if not found:
        return re.sub(r"[^a-z0-9]", "", text)
    key = re.sub(r"\s+", "", "".join(found.group("family", "number", "suffix")))
    return key.removeprefix("rtx") if key.startswith("rtxa") else key  # RTX A6000 is an A6000


def parse_memory(text: str) -> int:
    """`64GB`, `1.5 TiB`, `512MiB` → MiB, rounded down, at least 1.

    Raises BadInput for a missing unit, a word, or a size below one MiB or above a PiB.
    """
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([kKmMgGtT]?i?[bB])\s*", text)
    if not found or found.group(2).upper() not in UNITS:
        raise BadInput(
            f"“{text}” is not an amount of memory.",
            hint="Write a number and a unit: 40GB (10⁹ bytes) or 40GiB (2³⁰ bytes).",
        )
    mib = int(float(found.group(1)) * UNITS[found.group(2).upper()] / MIB)
    if not 1 <= mib <= 2**30:
        raise BadInput(f"“{text}” is outside what a machine has.", hint="For example: 64GB.")
    return mib


def parse_lifetime(text: str) -> timedelta:
    """`90m`, `12h`, `2d`, `1w` → timedelta. Raises BadInput."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*([mhdw])\s*", text)
    if not found:
        raise BadInput(f"“{text}” is not a lifetime.", hint="For example: 12h, 2d or 1w.")
    return timedelta(seconds=int(found.group(1)) * DURATIONS[found.group(2)])


def show_memory(mib: int) -> str:
    """MiB as people read them: `512 MiB`, `5.7 GiB`, `64 GiB`."""
    if mib < 1024:
        return f"{mib} MiB"
    return f"{mib / 1024:.1f}".removesuffix(".0") + " GiB"


def show_card(memory_mib: int) -> str:
    """A card's memory as on its box, in decimal GB: 81,559 MiB → `80 GB`, 24,564 MiB → `24 GB`.

    Boxes use the few sizes that memory chips allow; the nearest of them within 10 % is shown.
    """
    reported = memory_mib / 1024
    sizes = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 180, 192, 256)
    box = min(sizes, key=lambda size: abs(size - reported))
    return f"{box if abs(box - reported) <= box / 10 else round(reported)} GB"


_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]|[a-z]")


def check_name(name: str) -> str:
    """A vessel's name becomes an SSH alias and part of a host name: lower case, digits, dashes.

    Raises BadInput with what is wrong with it.
    """
    if not name.isascii():
        problem = "has letters that SSH configurations and editors cannot hold"
    elif len(name) > 40:
        problem = f"has {len(name)} characters; 40 is the most"
    elif name.lower() != name:
        problem = "has capital letters; editors lower-case host names"
    elif not _NAME.fullmatch(name):
        problem = "must begin with a letter, end with a letter or digit, and hold a-z, 0-9, -"
    else:
        return name
    raise BadInput(f"The name “{name}” {problem}.", hint="For example: bert-2.")


KNOWN_MIB = {
    "a100": 81920, "h100": 81559, "h200": 143771, "b200": 183359, "a10": 23028, "a30": 24576,
    "a40": 46068, "a6000": 49140, "l4": 23034, "l40": 46068, "l40s": 46068, "t4": 15360,
    "v100": 32768, "p100": 16384, "rtx2080ti": 11264, "rtx3080": 10240, "rtx3090": 24576,
    "rtx4080": 16376, "rtx4080super": 16376, "rtx4090": 24564, "rtx5090": 32607,
}  # fmt: skip
"""What `nvidia-smi` reports for one card of a model, for simulated ones."""


def parse_simulation(text: str) -> list[tuple[str, int]]:
    """`a100:8,rtx3090:4` → (model, memory in MiB) for each simulated GPU. Raises BadInput."""
    cards: list[tuple[str, int]] = []
    for part in text.split(","):
        name, _, count = part.strip().partition(":")
        model = model_key(name)
        if model not in KNOWN_MIB or not re.fullmatch(r"\d{0,2}", count) or int(count or 1) > 64:
            raise BadInput(
                f"“{part}” cannot be simulated.",
                hint="For example a100:8,rtx3090:4. Models: " + ", ".join(KNOWN_MIB),
            )
        cards += [(model, KNOWN_MIB[model])] * int(count or 1)
    if not 0 < len(cards) <= 64:
        raise BadInput(f"{len(cards)} simulated GPUs are not between 1 and 64.")
    return cards

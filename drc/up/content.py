"""Whether what runs is what is installed: hashes over files."""

import hashlib

from drc.config import package_folder


def digest(*packages: str) -> str:
    """Changes when any file of the packages does."""
    whole = hashlib.sha256()
    for package in packages:
        folder = package_folder(package)
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                whole.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return whole.hexdigest()[:16]

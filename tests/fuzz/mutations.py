"""Mutations of bytes: each input follows from the name of its target and its number alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)


def random_of(target: str, number: int) -> random.Random:
    """The source of chance of one input."""
    return random.Random(f"{target}:{number}")


def mutate(rng: random.Random, content: bytes, places: Sequence[int] | None = None, most: int = 8) -> bytes:
    """A copy with 1 to `most` changes, at `places` if they are given."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, most)):
        place = rng.choice(places) if places else rng.randrange(max(1, len(changed)))
        place = min(place, max(0, len(changed) - 1))
        kind = rng.randrange(8)
        if kind == 0:
            changed[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1 and changed:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            size = rng.choice((1, 2, 4, 8))
            changed[place : place + size] = (rng.choice(_EDGES) & (1 << 8 * size) - 1).to_bytes(size, "little")
        elif kind == 3:
            del changed[place : place + rng.randint(1, 16)]
        elif kind == 4:
            changed[place:place] = rng.randbytes(rng.randint(1, 16))
        elif kind == 5:
            other = rng.randrange(max(1, len(changed)))
            size = rng.randint(1, 32)
            changed[place : place + size] = changed[other : other + size]
        elif kind == 6 and rng.random() < 0.2:
            del changed[place:]
        elif changed:
            changed[place] = (changed[place] + rng.choice((-1, 1))) % 256
    return bytes(changed)


def places_outside(content: bytes, parts: Sequence[bytes]) -> list[int]:
    """The positions of bytes that lie in none of the long `parts`: there the structure of a file is."""
    inside = bytearray(len(content))
    for part in parts:
        if len(part) > 32 and (start := content.find(part)) >= 0:
            inside[start : start + len(part)] = b"\1" * len(part)
    return [place for place, covered in enumerate(inside) if not covered]

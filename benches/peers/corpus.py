"""The bytes that all servers store: files named by numbers, the same in every run."""

import random

from places import WORK

FOLDER = WORK / "corpus"
SEED = 20260711
# Name, bytes, how many. Numbers go on from one size to the next.
SIZES = {"1 KiB": (1 << 10, 20_000), "64 KiB": (64 << 10, 1_000), "1 MiB": (1 << 20, 100)}


def numbers(size):
    """The numbers of the files of one size."""
    first = 0
    for name, (_, count) in SIZES.items():
        if name == size:
            return range(first, first + count)
        first += count
    raise KeyError(size)


def shuffled(size):
    """The same, in the order in which every server is asked for them."""
    order = list(numbers(size))
    random.Random(SEED).shuffle(order)
    return order


def path(number):
    return FOLDER / str(number)


def make():
    """Writes the files that are missing."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (size, _) in SIZES.items():
        for number in numbers(name):
            file = path(number)
            if not file.exists() or file.stat().st_size != size:
                file.write_bytes(random.Random(SEED + number).randbytes(size))

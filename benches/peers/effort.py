"""How long is measured, in which order, and what becomes of a server that fails."""

import asyncio
import statistics
import sys

from client import BadAnswer
from places import Missing
from process import Failed

TROUBLE = (Failed, Missing, BadAnswer, OSError, EOFError, asyncio.IncompleteReadError, ExceptionGroup)


class Effort:
    """Rounds, their length and the size of large volumes; `notes` gathers what was skipped, for the
    report."""

    def __init__(self, rounds, seconds, needles):
        self.rounds, self.seconds, self.needles = rounds, seconds, needles
        self.notes = []
        self.case = ""
        self.out = set()

    def note(self, text):
        self.notes.append(text)
        print(f"  {text}", file=sys.stderr, flush=True)

    def begin(self, case):
        self.case = case.key
        self.out = set()

    def attempt(self, door, action):
        """What `action` gives. A door that fails is out for the rest of the case; the others go on."""
        if door.key in self.out:
            return None
        try:
            return action()
        except TROUBLE as error:
            self.out.add(door.key)
            self.note(f"{self.case}: no result of {door.name}: {reason(error)}")
            return None

    def rounds_around(self, doors, turn, rounds=None):
        """Goes around all doors, every other time backwards, so that a noisy minute troubles them
        alike. For each door and measure, the median of the rounds, the least and the most."""
        results = {door.key: [] for door in doors}
        for number in range(rounds or self.rounds):
            for door in reversed(doors) if number % 2 else doors:
                results[door.key].append(self.attempt(door, lambda: turn(door)))
        return {key: summaries(found) for key, found in results.items() if key not in self.out}


def reason(error):
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def summaries(results):
    return {name: summary([result[name] for result in results]) for name in results[0]}


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}

"""How a publication went."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How many runs were made, completed or brought up to date, and left alone."""

    created: int = 0
    completed: int = 0
    unchanged: int = 0

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.created + other.created, self.completed + other.completed, self.unchanged + other.unchanged)

    def __str__(self) -> str:
        return f"{self.created} runs new, {self.completed} completed, {self.unchanged} unchanged"


class TrackingUnavailableError(Exception):
    """The tracking store did not take what it was sent; nothing else depends on it."""

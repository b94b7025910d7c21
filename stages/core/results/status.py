"""How a cell of the matrix ended."""

from enum import StrEnum


class Status(StrEnum):
    """How a cell of the matrix ended."""

    OK = "ok"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"

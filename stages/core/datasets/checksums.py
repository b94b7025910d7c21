"""CRC-32C of long byte strings in NumPy, and the masked form that TFRecord files hold.

Source: RFC 3720, appendix B.4 (polynomial 0x1EDC6F41, reflected); the mask: `tensorflow/core/lib/hash/crc32c.h`.
The register is linear in its input, so two neighbouring pieces combine into one, and a string halves in every pass.
"""

from functools import cache

import numpy as np

POLYNOMIAL = 0x82F63B78
MASK_DELTA = 0xA282EAD8
WORD = 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """The checksum of `data` as it stands behind a TFRecord's length and behind its bytes (32 bits, unsigned)."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & WORD


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli): 0xE3069283 for b"123456789"."""
    pieces: np.ndarray = _byte_table()[np.frombuffer(data, np.uint8)]
    power = 0
    while len(pieces) > 1:
        if len(pieces) % 2:
            pieces = np.concatenate([np.zeros(1, np.uint32), pieces])  # zeros in front change nothing
        pieces = _move(_shift_table(power), pieces[0::2]) ^ pieces[1::2]
        power += 1
    register = np.full(1, WORD, np.uint32)
    for power in range(len(data).bit_length()):
        if len(data) >> power & 1:
            register = _move(_shift_table(power), register)
    return (int(register[0]) ^ (int(pieces[0]) if len(pieces) else 0)) ^ WORD


@cache
def _byte_table() -> np.ndarray:
    """uint32 [256]: the register after one byte, from 0."""
    table: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return table


@cache
def _shift_table(power: int) -> np.ndarray:
    """uint32 [4, 256]: what 2 ** power zero bytes make of each value of each byte of the register."""
    if power:
        half = _shift_table(power - 1)
        return np.stack([_move(half, row) for row in half])
    registers = np.arange(256, dtype=np.uint32)[None] << np.arange(0, 32, 8, dtype=np.uint32)[:, None]
    return np.asarray(_byte_table()[registers & 255] ^ (registers >> 8))


def _move(table: np.ndarray, registers: np.ndarray) -> np.ndarray:
    moved: np.ndarray = table[0][registers & 255]
    for part in (1, 2, 3):
        moved = moved ^ table[part][(registers >> np.uint32(8 * part)) & 255]
    return moved

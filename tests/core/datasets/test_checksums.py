"""CRC-32C: the published check values, and the masked form that TensorFlow writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.datasets.checksums import crc32c, masked_crc32c


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"123456789", 0xE3069283, id="check_value"),
        pytest.param(bytes(32), 0x8A9136AA, id="zeros"),
        pytest.param(b"\xff" * 32, 0x62A8AB43, id="ones"),
        pytest.param(bytes(range(32)), 0x46DD794E, id="up"),
        pytest.param(bytes(range(31, -1, -1)), 0x113FDB5C, id="down"),
    ],
)
def test_vectors_of_rfc_3720(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@given(data=st.binary(min_size=1, max_size=300), bit=st.integers(0, 2399))
def test_every_flipped_bit_shows(data: bytes, bit: int) -> None:
    position = bit % (8 * len(data))
    changed = bytearray(data)
    changed[position // 8] ^= 1 << position % 8
    assert crc32c(bytes(changed)) != crc32c(data)


def test_masked_form() -> None:
    # The mask of 0: the constant itself; and that of the check value, rotated by 15 bits and added to.
    assert masked_crc32c(b"") == 0xA282EAD8
    rotated = ((0xE3069283 >> 15) | (0xE3069283 << 17)) & 0xFFFFFFFF
    assert masked_crc32c(b"123456789") == (rotated + 0xA282EAD8) % 2**32

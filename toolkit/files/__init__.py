"""Files: complete or not there, on this machine or at an address, and described to people."""

from toolkit.files import atomic
from toolkit.files.address import (
    as_path,
    error_text,
    file_system,
    is_address,
    store_errors,
    strip_file_scheme,
)
from toolkit.files.hashing import sha256_of
from toolkit.files.masking import mask
from toolkit.files.sizes import size_text

__all__ = [
    "as_path",
    "atomic",
    "error_text",
    "file_system",
    "is_address",
    "mask",
    "sha256_of",
    "size_text",
    "store_errors",
    "strip_file_scheme",
]

"""Files: complete or not there, on this machine or at an address, and described to people.

`process_settings` is here too: it is what every room that calls MLflow shares.
"""

from toolkit.files import atomic
from toolkit.files.address import (
    as_path,
    error_text,
    file_system,
    is_address,
    store_errors,
    strip_file_scheme,
)
from toolkit.files.array_files import append_array, save_array
from toolkit.files.claim import claimed
from toolkit.files.hashing import sha256_of
from toolkit.files.masking import HANDED_OVER, MASK, handed_over, mask, secrets_in
from toolkit.files.mounts import mounts_are_known, on_local_disk
from toolkit.files.process_state import process_settings, uncollected
from toolkit.files.sizes import size_text
from toolkit.files.store import ObjectStore
from toolkit.files.upload import NotSentError, Upload
from toolkit.files.write_back import begin_write_back

__all__ = [
    "HANDED_OVER",
    "MASK",
    "NotSentError",
    "ObjectStore",
    "Upload",
    "append_array",
    "as_path",
    "atomic",
    "begin_write_back",
    "claimed",
    "error_text",
    "file_system",
    "handed_over",
    "is_address",
    "mask",
    "mounts_are_known",
    "on_local_disk",
    "process_settings",
    "save_array",
    "secrets_in",
    "sha256_of",
    "size_text",
    "store_errors",
    "strip_file_scheme",
    "uncollected",
]

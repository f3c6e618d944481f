"""A saved document as a signed pickle: nothing is unpickled before the signature is found right, and then no globals."""

from __future__ import annotations

import hashlib
import hmac
import io
import pickle
from typing import Any, NoReturn

from agentgauge.errors import ConfigurationError, HistoryError

__all__ = ["PICKLE_MAGIC", "from_pickle", "require_key", "to_pickle"]

PICKLE_MAGIC = b"agentgauge signed pickle "
_VERSIONED = PICKLE_MAGIC + b"1\n"
_LEAST_KEY_BYTES = 16
_SIGNATURE_BYTES = hashlib.sha256().digest_size


def require_key(key: bytes | None, what: str) -> bytes:
    """Return the key.

    Raises:
        ConfigurationError: There is none, or it is too short.
    """
    if key is None:
        raise ConfigurationError(
            f"{what}: a pickle is read and written only with a key: give pickle_key=, at least {_LEAST_KEY_BYTES} secret bytes "
            "such as secrets.token_bytes(32), or use json or sqlite"
        )
    if not isinstance(key, bytes | bytearray) or len(key) < _LEAST_KEY_BYTES:
        raise ConfigurationError(f"pickle_key: give at least {_LEAST_KEY_BYTES} secret bytes, such as secrets.token_bytes(32)")
    return bytes(key)


def to_pickle(document: dict[str, Any], key: bytes) -> bytes:
    """Write a document, signed with HMAC-SHA256."""
    payload = pickle.dumps(document, protocol=5)
    return _VERSIONED + _signature(key, payload) + payload


def from_pickle(content: bytes, path: str, key: bytes) -> Any:
    """Read a document.

    Raises:
        HistoryError: The signature is not that of the key, or what was signed is not what ``to_pickle`` writes.
    """
    if not content.startswith(_VERSIONED):
        raise HistoryError(f"{path}: it was written by another agentgauge, maybe a newer one: pip install --upgrade agentgauge")
    begin = len(_VERSIONED) + _SIGNATURE_BYTES
    signature, payload = content[len(_VERSIONED) : begin], content[begin:]
    if not hmac.compare_digest(signature, _signature(key, payload)):
        raise HistoryError(f"{path}: it was not signed with this key, or was changed since: it is not opened")
    try:
        return _Plain(io.BytesIO(payload)).load()
    except Exception as error:  # noqa: BLE001 - unpickling may raise anything
        raise HistoryError(f"{path}: it is signed, but is not what save() writes: {error}") from None


def _signature(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, _VERSIONED + payload, "sha256")


class _Plain(pickle.Unpickler):
    """Knows mappings, lists, texts and numbers, and nothing by name."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse: whoever can name a function can call it."""
        raise pickle.UnpicklingError(f"it names {module}.{name}")

"""Parts of replies that several calls have."""

from __future__ import annotations

from listener.emulator.mns.features import Encryption, RateLimit
from listener.emulator.rpc.call import Document

#: What every reply to a call that was carried out has, besides its Data.
CARRIED_OUT: Document = {"Code": 200, "Status": "Success", "Message": "operation success", "Success": True}


def done() -> Document:
    """The Data of a change."""
    return {"Code": 200, "Message": "operation success", "Success": True}


def encryption_fields(encryption: Encryption) -> Document:
    return {
        "EnableSSE": encryption.enabled,
        "EncryptionEnabled": encryption.enabled,
        "SseAlgorithm": encryption.algorithm,
        "SseType": encryption.type,
        "KmsKeyId": encryption.kms_key_id,
    }


def rate_limit_fields(limit: RateLimit | None) -> Document:
    if limit is None:
        return {"Enabled": False}
    return {"Enabled": limit.enabled, "MaxReceivesPerSecond": limit.max_receives_per_second}


def tag_fields(tags: tuple[tuple[str, str], ...]) -> list[Document]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags]

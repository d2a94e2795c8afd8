"""What a subscription's endpoint gets of a publication, in each content format.

XML and JSON are as the page "notifycontentformat" of the MNS manual shows them, without its two slips (``xlmns``, an
end tag of another name); the order of the JSON is that of a capture. Neither is base64, unlike the callbacks that MPS
sends to a queue; a message in them is base64 only if it was published so.
"""

from __future__ import annotations

import json

from listener.emulator.mns import xml
from listener.emulator.mns.topics import ACCOUNT_ID, ContentFormat, Publication, Subscription


def notification_text(publication: Publication, subscription: Subscription) -> str:
    """The body of a push. A publication without a tag has no MessageTag."""
    match subscription.attributes.notify_content_format:
        case ContentFormat.SIMPLIFIED:
            return publication.body
        case ContentFormat.JSON:
            members = _members(publication, subscription)
            return json.dumps(members, ensure_ascii=False, separators=(",", ":"))
        case ContentFormat.XML:
            members = _members(publication, subscription)
            fields = [(name, members[name]) for name in _XML_ORDER if name in members]
            return xml.flat("Notification", fields).decode("utf-8", "surrogateescape")


_XML_ORDER = (
    "TopicOwner",
    "TopicName",
    "Subscriber",
    "SubscriptionName",
    "MessageId",
    "Message",
    "MessageMD5",
    "MessageTag",
    "PublishTime",
)


def _members(publication: Publication, subscription: Subscription) -> dict[str, str]:
    return {
        "TopicOwner": ACCOUNT_ID,
        "Message": publication.body,
        "Subscriber": ACCOUNT_ID,
        "PublishTime": str(publication.published_ms),
        "SubscriptionName": subscription.name,
        "MessageMD5": publication.md5,
        **({"MessageTag": publication.tag} if publication.tag else {}),
        "TopicName": publication.topic_name,
        "MessageId": publication.message_id,
    }

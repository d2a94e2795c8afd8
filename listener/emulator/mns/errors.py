"""The errors of MNS: code, status and text."""

from __future__ import annotations

#: Status and text of each error code, as the table of error codes has them.
ERRORS = {
    "AccessDenied": (
        403,
        "The OwnerId that your Access Key Id associated to is forbidden for this operation.",
    ),
    "InvalidAccessKeyId": (403, "The AccessKey Id you provided is not exist."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided.",
    ),
    "MissingAuthorizationHeader": (400, "Authorization header is required."),
    "InvalidAuthorizationHeader": (400, "The Authorization header format is invalid."),
    "MissingDateHeader": (400, "Date header is required."),
    "InvalidDateHeader": (400, "The Date header format is invalid."),
    "MissingVersionHeader": (400, "x-mns-version header is required."),
    "TimeExpired": (408, "The http request you sent is expired."),
    "InvalidDegist": (400, "The digest in your request is not valid."),
    "InvalidRequestURL": (400, "Http request URL format invalid."),
    "InvalidQueryString": (400, "Http request URL contains invalid querystring item."),
    "InvalidArgument": (400, "The argument is not valid."),
    "MalformedXML": (400, "The XML you provided was not well-formed."),
    "InvalidQueueName": (400, "The queue name you provided is invalid."),
    "QueueNameLengthError": (400, "Queue name length should not be longer than 120."),
    "MissingReceiptHandle": (400, "ReceiptHandle is required."),
    "MissingVisibilityTimeout": (400, "VisibilityTimeout is required."),
    "ReceiptHandleError": (400, "The receipt handle you provide is not valid."),
    "MessageNotExist": (404, "Message not exist."),
    "QueueNotExist": (404, "The queue name you provided is not exist."),
    "QueueAlreadyExist": (409, "The queue you want to create is already exist."),
    "FifoMissingMessageGroupId": (400, "MessageGroupId is required for a FIFO queue."),
    "TopicNameInvalid": (400, "The topic name you provided is invalid."),
    "TopicNameLengthError": (400, "Topic name length should between 1 and 255."),
    "TopicNotExist": (404, "The topic you provided does not exist."),
    "TopicAlreadyExist": (409, "The topic you want to create already exists."),
    "SubscriptionNameInvalid": (400, "The subscription name you provided is invalid."),
    "SubscriptionNameLengthError": (400, "Subscription name length should between 1 and 255."),
    "SubscriptionNotExist": (404, "The subscription you provided does not exist."),
    "SubscriptionAlreadyExist": (409, "The subscription you want to create already exists."),
    "EndpointInvalid": (400, "The endpoint you provided is invalid."),
    "TooManyRequests": (429, "The request is denied by cluster flow limiter for too many requests."),
    "InternalError": (500, "Internal error."),
}


class MnsError(Exception):
    """An error of the service, by its code."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status, standard = ERRORS[code]
        self.text = text or standard


def range_text(name: str, low: int, high: int, unit: str) -> str:
    return f"The value of {name} should between {low} and {high}{' ' if unit else ''}{unit}."


def schema_text(cause: str) -> str:
    return f"The XML you provided did not validate against our published schema, cause by {cause}."

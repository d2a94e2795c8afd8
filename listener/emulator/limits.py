"""How large requests to the emulator may be. Within these limits, none holds the others up for long."""

from __future__ import annotations

#: Or half of the descriptors that the process may open: a client of each is often in the same process.
MAX_CONNECTIONS = 10_000
#: Of request line and headers, in bytes: the official MPS SDK puts all parameters into the query, regardless of length.
MAX_HEAD = 128 << 10
MAX_HEADERS = 100
#: Fields of a query or a form.
MAX_FIELDS = 1000
#: The body of a request to MNS that contains messages: 64 KB take six times as much if each character is an entity.
MAX_MESSAGES = 448 << 10
#: The body of any other request to MNS.
MAX_ATTRIBUTES = 64 << 10
#: The body of an RPC call.
MAX_CALL = 128 << 10
#: The body of a request to ``/_emulator/``.
MAX_CONTROL = 1 << 20
#: Of what is larger than this, nothing is kept.
MAX_BODY = max(MAX_MESSAGES, MAX_ATTRIBUTES, MAX_CALL)
#: Of XML. A batch of 16 messages with 50 properties each has 5 levels and about 6,500 elements.
MAX_DEPTH = 250
MAX_ELEMENTS = 10_000
#: Of XML: a message of 64 KB has fewer, even if it is a document itself.
MAX_XML_ATTRIBUTES = 20_000

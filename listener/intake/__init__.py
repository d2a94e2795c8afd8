"""receive, decode, record, delete: short and durable, and never runs user code. Start with poller.py."""

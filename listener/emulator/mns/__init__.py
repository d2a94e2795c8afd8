"""MNS: queues and messages over its XML protocol."""

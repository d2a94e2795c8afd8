"""The daemon: parts joined, started in order and stopped in order."""

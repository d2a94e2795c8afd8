"""The HTTP server of this process: health and metrics."""

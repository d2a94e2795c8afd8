"""The HTTP API under ``/v1``: jobs, results and their deliveries for applications in any language."""

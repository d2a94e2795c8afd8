"""claim, enrich, handle, settle: slow, retried, and the only place that runs user code. Start with dispatcher.py."""

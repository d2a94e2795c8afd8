"""claim, enrich, handle, settle: slow, retried, runs user code."""

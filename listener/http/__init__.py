"""What this process serves over HTTP: health and metrics."""

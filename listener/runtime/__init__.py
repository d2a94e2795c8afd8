"""What the process itself needs: signals, its supervisor, liveness, logs, metrics, and waiting at a rate."""

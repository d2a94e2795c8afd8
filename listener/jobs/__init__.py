"""The jobs that are submitted, and their outcomes."""

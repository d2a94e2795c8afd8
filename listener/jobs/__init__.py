"""The jobs that are submitted, and what becomes of them."""

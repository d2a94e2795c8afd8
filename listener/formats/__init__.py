"""Text and documents as they arrive: read leniently, written strictly. Pure functions."""

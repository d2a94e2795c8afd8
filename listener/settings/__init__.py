"""The settings: TOML and environment in, one frozen, checked object out."""

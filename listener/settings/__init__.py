"""Settings: read from TOML and the environment into one frozen, validated object."""

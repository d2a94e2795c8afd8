"""The store: jobs, results, deliveries, quarantine, on SQLite or PostgreSQL."""

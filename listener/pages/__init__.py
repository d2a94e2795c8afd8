"""Pages for people, on the HTTP server of the daemon: rendered here, with a little JavaScript for live charts."""

"""The demo: the whole line on this machine, with jobs to which happens what happens in the field."""

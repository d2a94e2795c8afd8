"""An end-to-end demo on one machine, with the faults that occur in production."""

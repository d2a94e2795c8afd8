"""The data model, the interfaces between the parts, and the clock."""

"""The words of the product, the interfaces between its parts, and the one place that asks the time."""

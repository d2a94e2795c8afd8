"""What ``mns-listener setup`` creates in an account: planned as values, then carried out through ports."""

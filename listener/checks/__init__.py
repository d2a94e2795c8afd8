"""What ``mns-listener check`` verifies: the settings, this machine, and the accounts. It changes nothing."""

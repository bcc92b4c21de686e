"""Runs on the machine: makes the desired state true and reports the observed state."""

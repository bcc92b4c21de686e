"""A cloud in a box: its machines are real Debian systems that boot. See README.md."""

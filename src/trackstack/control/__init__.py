"""The control store: where desired and observed state lie."""

"""What a person can do: each operation takes an environment and returns a typed result."""

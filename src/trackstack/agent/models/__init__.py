"""Serves models: a small service of its own, since to prepare a model's packages takes minutes."""

"""A deployment kit for the MLflow tracking server."""

__version__ = "0.1.0"

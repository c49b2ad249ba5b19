"""Triton python-backend models, each copied as `model.py` into the repository that is served."""

"""Families of models: what each states of itself, and how a model of any is found, listed and fetched.

Nothing here imports networks: the server's own process only asks which models there are.
"""

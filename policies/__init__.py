"""Policies: one readable file a method, their training and their runtime."""

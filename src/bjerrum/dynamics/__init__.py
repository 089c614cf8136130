"""Molecular dynamics: integrators, the resumable runner, and replicas side by side."""

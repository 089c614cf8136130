"""Potentials: the contract, neural networks behind it, training, and shipped model folders."""

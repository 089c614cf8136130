"""Trained networks as compiled code for dynamics on the CPU: exact to rounding, and much faster.

The generated C++ unrolls one architecture: features stay in vector registers, only non-zero
Clebsch-Gordan terms appear, radial networks are tables, and the gradient is written out, so that
nothing of the size (neighbours x weights) is stored. Entry: :func:`~.model.for_dynamics`.
"""

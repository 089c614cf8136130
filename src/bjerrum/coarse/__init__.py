"""Ions in a continuum: a second potential, learnt from the forces of an all-atom trajectory."""

"""Solution thermodynamics: pair potentials of mean force to osmotic and activity coefficients."""

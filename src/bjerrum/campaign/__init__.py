"""From one TOML that names salts, concentrations and temperatures to a database of properties."""

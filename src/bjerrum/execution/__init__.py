"""Where steps are done: processes of this machine, or pilot jobs of a cluster. No chemistry."""

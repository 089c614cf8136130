"""Where forces come from when they are not learned: classical force fields, later CP2K."""

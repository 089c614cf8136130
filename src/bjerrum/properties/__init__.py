"""From arrays to numbers with error bars: statistics first, then a module per question."""

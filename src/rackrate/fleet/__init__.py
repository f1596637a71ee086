"""Run it there: nodes that live while their owner wants them, and not a moment longer than promised."""

"""Where nodes come from: one module a place, all of one contract (`base`)."""

"""One module a source; each has one `COLLECTOR`. A new module here is a new source, nothing else to do."""

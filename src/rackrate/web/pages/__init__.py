"""The pages, by family; each function takes what was asked and returns a page."""

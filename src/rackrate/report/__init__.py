"""Answers as values: what a question returns, the same for the command line, notebooks and the site."""

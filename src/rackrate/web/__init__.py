"""The site and the JSON API: what the other parts answer, as pages, Markdown, CSV and JSON (extra `web`).

Nothing is computed here. A page asks the functions that the command line asks, and the API hands out what
the page was made of.
"""

"""Watching one host, in a process of its own: `watch` its events, `usage` its figures, `vignettes` its screens."""

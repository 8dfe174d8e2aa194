"""Watching one host, in a process of its own: `watch` its events, `stock` its storage and networks, `usage` its
figures, `vignettes` its screens."""

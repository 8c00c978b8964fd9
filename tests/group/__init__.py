"""Several nodes that agree on the metadata: real processes, and the decisions by themselves."""

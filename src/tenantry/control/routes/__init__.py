"""The routes of the control plane: one module a noun, each a function from what it needs to its handlers."""

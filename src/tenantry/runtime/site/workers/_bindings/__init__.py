"""What `self.env.NAME` is: one wrapper for each type of binding, over a stub that the host resolves."""

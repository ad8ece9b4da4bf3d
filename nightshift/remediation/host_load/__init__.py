"""A host short of processors or memory: whose processes those are, and what may be done about them."""

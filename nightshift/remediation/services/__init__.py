"""Services that do not answer: what is seen of them, and the least that may help. Pure."""

"""Limits of a trading portfolio: what is broken, what people need to decide, and the one direction that is safe."""

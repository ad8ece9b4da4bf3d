"""Nothing happens where something is expected: what was seen, what may be done, and whether it helped."""

"""Trading agents and trading sessions that stopped: what was seen, what may be done, and whether it helped."""

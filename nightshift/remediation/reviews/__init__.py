"""The review of an incident that is over: what is known of it, in the order in which people talk about it. Pure."""

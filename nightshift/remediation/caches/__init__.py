"""Redis servers: what lives in them decides what may be done about them. Pure."""

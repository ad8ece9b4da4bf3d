"""One step against one real thing each: diagnostics read, actions change, and only the gate starts an action."""

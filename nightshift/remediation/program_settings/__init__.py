"""Settings of the programs that are looked after: feature flags, rates, numbers of workers; changed for a time."""

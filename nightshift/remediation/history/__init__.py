"""How often alerts fired and how they were answered: for the weekly review of alerts. Pure."""

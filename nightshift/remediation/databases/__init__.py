"""What goes wrong with PostgreSQL servers and their poolers: readings, causes, plans and judgement; pure, no I/O."""

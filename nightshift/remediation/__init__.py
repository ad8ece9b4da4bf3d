"""The plain domain: what a trouble is, what may be done about it, and what was done. Never imports Prefect."""

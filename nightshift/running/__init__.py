"""Running an installation: the database, the Prefect server, the gateway and the worker of one home folder."""

"""The ledger: the one durable memory of alerts, incidents, claims, leases, plans, approvals, actions and pages.

PostgreSQL, always. Every time is the database server's, so that the clocks of gateways and workers do not matter.
"""

from nightshift.remediation.ledger.ledger import Ledger
from nightshift.remediation.ledger.migrate import migrate

__all__ = ["Ledger", "migrate"]

"""Why nothing happened about an alert, or what did: pure reasoning from what the ledger and the catalogue say.

:mod:`facts` is what is known, :mod:`explanation` what is answered. Each case is one small function in the ordered
tables of :mod:`answering`; :mod:`nightshift.remediation.ledger.evidence` looks the facts up.
"""

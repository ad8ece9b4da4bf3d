"""One remediation procedure per file, reading like its runbook: diagnose, plan, approve, remediate, verify, report."""

"""One remediation procedure per file, each reading like its runbook: diagnose, plan, approve, remediate, verify, report."""

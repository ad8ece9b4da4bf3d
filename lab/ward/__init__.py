"""A ward of patients made for the fault matrix: every effect is counted by the patient, not by our own journal."""

"""Health sweeps: what is measured of a system on a schedule, what is a finding, and how it went since the last one."""

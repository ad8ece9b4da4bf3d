"""Real parts for tests and the demo: started for real, on free ports, in temporary folders, and removed afterwards."""

"""The doctor: looks at an installation and at every connection of every system, and says what to mend."""

from nightshift.running.doctor.examination import Examination, examine
from nightshift.running.doctor.finding import Level, Symptom

__all__ = ["Examination", "Level", "Symptom", "examine"]

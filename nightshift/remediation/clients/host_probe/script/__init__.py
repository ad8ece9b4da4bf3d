"""The part of the probe that runs on the target: standard library only, Python 3.6 or newer, never installed there.

Modules import each other relatively, because on the target the package has another name and lives in memory only.
"""

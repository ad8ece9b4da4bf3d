"""How Nightshift looks at and changes filesystems on a target, without anything installed there."""

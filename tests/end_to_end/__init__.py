"""Most of these share an installation: a package, so that pytest ends it with the last of them."""

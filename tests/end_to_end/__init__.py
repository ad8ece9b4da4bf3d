"""One installation for most of these, up from the first of them to the last: a package, so that pytest knows its end."""

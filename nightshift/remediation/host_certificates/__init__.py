"""Certificates that a host renews with certbot and serves itself: what is wrong, and what may be done about it."""

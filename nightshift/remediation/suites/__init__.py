"""A project's test suite: how long its tests take, what they cover, and what changed before that became worse."""

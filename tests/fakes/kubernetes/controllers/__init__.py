"""Small controllers, so that drains and rollouts play out: each looks at everything and moves it one step."""

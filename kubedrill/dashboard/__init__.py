"""A page that shows a cluster as it is, live, and changes nothing."""

"""What nodes are made of: everything here is content-addressed, and nothing is rebuilt without cause."""

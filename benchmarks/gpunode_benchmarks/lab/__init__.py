"""A network lab: hosts in Linux network namespaces, on an isolated internet inside this machine with known delays."""

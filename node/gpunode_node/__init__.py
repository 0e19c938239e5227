"""The node: a daemon that offers a machine's models to the network and earns credits for its answers."""

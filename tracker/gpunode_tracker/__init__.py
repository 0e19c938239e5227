"""The tracker: accounts, region index, ledger, and the mesh's bootstrap peer."""
